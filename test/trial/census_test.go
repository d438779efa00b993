package trial

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle/cabundletest"
	"github.com/caject/caject/test/playground"
)

func TestWhatACensusNotices(t *testing.T) {
	now := time.Now()
	ca := func(name string) []byte { return cabundletest.CA(name, now.Add(-2*time.Hour), now.Add(time.Hour)) }
	first, second, foreign := ca("first"), ca("second"), ca("foreign")
	old := cabundletest.CA("old", now.Add(-2*time.Hour), now.Add(-time.Hour))
	both := slices.Concat(first, second)
	type state [2][]byte // of two webhooks
	same := func(bundle []byte) state { return state{bundle, bundle} }
	for sentence, test := range map[string]struct {
		states []state
		want   string // in what is noted; empty if nothing is
		wrong  string // in what is wrong at the end; empty if nothing is
	}{
		"a target is filled":                       {states: []state{same(nil), same(second)}},
		"it is not filled yet":                     {states: []state{same(nil)}, wrong: "does not hold the CA"},
		"it has not followed yet":                  {states: []state{same(first)}, wrong: "does not hold the CA"},
		"one CA joins another":                     {states: []state{same(first), same(both)}},
		"a CA is lost":                             {states: []state{same(both), same(second)}, want: "has lost a certificate"},
		"all is lost":                              {states: []state{same(second), same(nil)}, want: "has lost a certificate", wrong: "does not hold the CA"},
		"what has expired goes":                    {states: []state{same(slices.Concat(old, second)), same(second)}},
		"one webhook is filled and the other not":  {states: []state{{second, nil}}, want: "half written", wrong: "does not hold the CA"},
		"half a certificate":                       {states: []state{same(slices.Concat(second, first[:100]))}, want: "what is no certificate"},
		"a certificate that is not the source's":   {states: []state{same(slices.Concat(second, foreign))}, want: "never held"},
		"a placeholder that is stored for a while": {states: []state{same(both), same([]byte(Placeholder)), same(second)}},
		"a placeholder that stays":                 {states: []state{same(both), same([]byte(Placeholder))}, wrong: "does not hold the CA"},
	} {
		t.Run(sentence, func(t *testing.T) {
			c := NewCensus(nil)
			for _, pem := range [][]byte{old, first, second} {
				c.Expect(Namespace+"/source", pem)
			}
			for _, s := range test.states {
				object := playground.NewMutating("target", 2, playground.FromSecret(Namespace, "source"))
				playground.SetEachCABundle(object, s[:])
				c.look(object)
			}
			_, noted := c.Result()
			expect(t, noted, test.want)
			expect(t, c.Wrong(1), test.wrong)
		})
	}
}

func TestACensusCountsTargets(t *testing.T) {
	c := NewCensus(nil)
	expect(t, c.Wrong(1), "0 targets are there, not the 1")
}

// expect fails the test unless err says want; empty means that there is none.
func expect(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case err == nil && want != "":
		t.Errorf("nothing is noted, not %q", want)
	case err != nil && (want == "" || !strings.Contains(err.Error(), want)):
		t.Errorf("noted is %q, not %q", err, want)
	}
}

func TestACensusDoesNotWaitForWhatIsBeingDeleted(t *testing.T) {
	c := NewCensus(nil)
	c.Expect(Namespace+"/source", playground.NewCA("source"))
	object := playground.NewCRD("target", playground.FromSecret(Namespace, "source"))
	c.look(object)
	expect(t, c.Wrong(0), "1 targets are there")
	object.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	c.look(object)
	expect(t, c.Wrong(0), "")
}
