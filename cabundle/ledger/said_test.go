package ledger

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-logr/logr/funcr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
)

// TestWhatIsSaidOfASource: what people are told changes without a change for targets, and is found in the watch cache, too.
func TestWhatIsSaidOfASource(t *testing.T) {
	leavingOut := func(leftOut ...string) cabundle.Reading {
		r := holds("one")
		r.LeftOut = leftOut
		return r
	}
	invalid := func(detail string) cabundle.Reading {
		return cabundle.Reading{Problem: &cabundle.Problem{Reason: cabundle.SourceInvalid, Detail: detail}}
	}
	tests := map[string]struct {
		before, after cabundle.Reading
		told          bool
		logged        int
	}{
		"nothing":                       {holds("one"), holds("one"), false, 0},
		"a certificate is left out":     {holds("one"), leavingOut("certificate 2 of 2: malformed"), true, 1},
		"it is left out as before":      {leavingOut("certificate 2 of 2: malformed"), leavingOut("certificate 2 of 2: malformed"), false, 1},
		"it is not left out any more":   {leavingOut("certificate 2 of 2: malformed"), holds("one"), true, 1},
		"another one is left out":       {leavingOut("certificate 2 of 2: malformed"), leavingOut("certificate 1 of 2: malformed"), true, 2},
		"another fault":                 {invalid("no line end"), invalid("a byte order mark"), true, 0},
		"the same fault":                {invalid("no line end"), invalid("no line end"), false, 0},
		"a fault in place of leftovers": {leavingOut("certificate 2 of 2: malformed"), invalid("no line end"), true, 1},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, cabundle.Rules{})
				logged := 0
				r.ctx = log.IntoContext(r.ctx, funcr.New(func(_, args string) {
					if strings.Contains(args, "left out") {
						logged++
					}
				}, funcr.Options{}))
				r.start()
				r.cluster.store(source, test.before)
				r.Follow(source)
				r.know(source)
				r.forget()
				r.cluster.store(source, test.after)
				_ = r.tick(r.ctx, source)
				_ = r.tick(r.ctx, source)
				synctest.Wait()
				if told := r.heard(source) > 0; told != test.told {
					t.Errorf("the listeners were told: %v", told)
				}
				if got := r.Latest(source).Said(); got != test.after.Said() {
					t.Errorf("it is known as %q", got)
				}
				if logged != test.logged {
					t.Errorf("logged %d times", logged)
				}
			})
		})
	}
}
