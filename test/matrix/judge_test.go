package matrix

import (
	"encoding/base64"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/test/playground"
)

func TestExpectation(t *testing.T) {
	for sentence, test := range map[string]struct {
		must, may, held string
		met             bool
	}{
		"all are there":            {"01", "", "10", true},
		"one is missing":           {"01", "", "0", false},
		"one may be missing":       {"0", "1", "0", true},
		"and may be there":         {"0", "1", "01", true},
		"one is too much":          {"0", "", "01", false},
		"one is there twice":       {"0", "", "00", false},
		"one that may be is twice": {"", "1", "11", false},
		"a foreign one":            {"0", "1", "0!", false},
		"nothing is wanted":        {"", "", "", true},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := (expectation{test.must, test.may}).met(test.held); got != test.met {
				t.Errorf("met(%q) is %t", test.held, got)
			}
		})
	}
}

// TestObserver shows states of one target, and expects what is noted of them.
func TestObserver(t *testing.T) {
	s := &stage{policies: false, digits: map[string]mark{}, pems: map[mark][]byte{}}
	s.observer = newObserver(nil, s.digit)
	crds, validating := 0, 2
	for sentence, test := range map[string]struct {
		kind   int
		reset  reset
		states []string // digits, or a text without a certificate
		noted  string   // empty: nothing
	}{
		"one after the other": {validating, resets[2], []string{"", "0", "01"}, ""},
		"one is lost":         {validating, resets[2], []string{"01", "1"}, "lost [0]"},
		"a backup takes away what it does not hold": {validating, resets[len(resets)-1], []string{"01", "0"}, ""},
		"but not what it holds":                     {validating, resets[len(resets)-1], []string{"01", "1"}, "lost [0]"},
		"all are lost where nobody looks":           {validating, resets[2], []string{"01", "text", "01"}, ""},
		"all are lost where the webhook looks":      {crds, resets[2], []string{"01", "text", "01"}, "lost [01]"},
		"a foreign one":                             {validating, resets[2], []string{"0", "0!"}, "foreign"},
	} {
		t.Run(sentence, func(t *testing.T) {
			c := &cell{group: &group{stage: s, name: "judged", reset: &test.reset, change: &changes[0]}, kind: test.kind}
			for _, digits := range test.states {
				object := c.manifest(nil)
				object.SetUID("one")
				s.observer.expect(c, object)
				for _, field := range fieldsOf(object) {
					field["caBundle"] = s.bundle(digits)
				}
				s.observer.look(object, false)
			}
			s.observer.look(c.manifest(nil), true)
			noted := ""
			for _, err := range c.faults() {
				noted += err.Error()
			}
			if test.noted == "" && noted != "" || !strings.Contains(noted, test.noted) {
				t.Errorf("noted is %q", noted)
			}
		})
	}
}

// bundle returns what a caBundle that holds digits is in JSON.
func (s *stage) bundle(digits string) string {
	bundle := ""
	for _, digit := range digits {
		switch {
		case digit == foreign:
			bundle += string(playground.NewCA("foreign"))
		case strings.ContainsRune("01", digit):
			bundle += string(s.certificate("judged", digit))
		default:
			bundle += string(digit)
		}
	}
	return base64.StdEncoding.EncodeToString([]byte(bundle))
}

func TestShardsRight(t *testing.T) {
	old, now := string(playground.NewCA("old")), string(playground.NewCA("now"))
	good := *encoded(old + now)
	shard := func(name, cluster, entry string) corev1.PodTemplate {
		return corev1.PodTemplate{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{clusterAnnotation: cluster}},
			Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{
				CSI: &corev1.CSIVolumeSource{VolumeAttributes: map[string]string{sourceKey("a"): entry}},
			}}}}},
		}
	}
	for sentence, test := range map[string]struct {
		all   shards
		right bool
	}{
		"old and new":             {shards{shard("0", "here", good)}, true},
		"and a former value":      {shards{shard("0", "here", good+" "+*encoded(old))}, true},
		"none":                    {nil, false},
		"another cluster's":       {shards{shard("0", "there", good)}, false},
		"in two":                  {shards{shard("0", "here", good), shard("1", "here", good)}, false},
		"without the latest":      {shards{shard("0", "here", *encoded(old))}, false},
		"a foreign one besides":   {shards{shard("0", "here", *encoded(now + string(playground.NewCA("foreign"))))}, false},
		"not base64":              {shards{shard("0", "here", "!")}, false},
		"nothing to be filled in": {shards{shard("0", "here", " "+good)}, false},
		"without volumes":         {shards{{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{clusterAnnotation: "here"}}}}, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			if err := test.all.right("here", map[string][]string{sourceKey("a"): {old, now}}); (err == nil) != test.right {
				t.Error(err)
			}
		})
	}
}
