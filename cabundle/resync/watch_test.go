package resync

import (
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestARefusedWatchIsLoggedOnceItLasts(t *testing.T) {
	lines := 0
	clock := clocktesting.NewFakeClock(start)
	w := &watchErrors{log: funcr.New(func(string, string) { lines++ }, funcr.Options{}), clock: clock, refusals: map[string]refusal{}}
	crds := apierrors.NewForbidden(schema.GroupResource{Resource: "customresourcedefinitions"}, "", errors.New("no"))
	services := apierrors.NewForbidden(schema.GroupResource{Resource: "apiservices"}, "", errors.New("no"))
	expect := func(sentence string, want int) {
		t.Helper()
		if lines != want {
			t.Errorf("%s: %d lines, want %d", sentence, lines, want)
		}
	}
	refuse := func(err error, times int) {
		for range times {
			w.handle(t.Context(), nil, err)
			clock.Step(5 * time.Second)
		}
	}
	refuse(crds, 2)
	expect("an API server that is starting", 0)
	clock.Step(time.Hour)
	refuse(crds, 2)
	expect("starting again, later", 0)
	refuse(crds, 100)
	expect("a refusal that lasts", 1)
	refuse(services, 10)
	expect("of another kind, too", 2)
	refuse(crds, 800)
	expect("for over an hour", 3)
	refuse(errors.New("connection refused"), 100)
	expect("an API server that is away", 3)
}
