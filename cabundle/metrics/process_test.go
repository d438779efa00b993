package metrics

import (
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestProcess(t *testing.T) {
	yes, no := func() bool { return true }, func() bool { return false }
	info := `caject_build_info{goversion="` + runtime.Version() + `",version="v1"}`
	for sentence, test := range map[string]struct {
		process Process
		want    map[string]float64
	}{
		"the leader, ready": {
			Process{Version: "v1", Leads: yes, Ready: yes, LeafExpiry: func() (time.Time, bool) { return time.Unix(1700000000, 5), true }},
			map[string]float64{info: 1, "caject_leader{}": 1, "caject_ready{}": 1, "caject_serving_certificate_expiry_timestamp_seconds{}": 1700000000},
		},
		"another, without a certificate yet": {
			Process{Version: "v1", Leads: no, Ready: no, LeafExpiry: func() (time.Time, bool) { return time.Time{}, false }},
			map[string]float64{info: 1, "caject_leader{}": 0, "caject_ready{}": 0},
		},
		"no admission is served": {
			Process{Version: "v1", Leads: yes, Ready: no},
			map[string]float64{info: 1, "caject_leader{}": 1, "caject_ready{}": 0},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			registry := prometheus.NewPedanticRegistry()
			registry.MustRegister(test.process)
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]float64{}
			for _, family := range families {
				for _, metric := range family.Metric {
					labels := ""
					for _, label := range metric.Label {
						if labels != "" {
							labels += ","
						}
						labels += label.GetName() + `="` + label.GetValue() + `"`
					}
					got[family.GetName()+"{"+labels+"}"] = metric.GetGauge().GetValue()
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
