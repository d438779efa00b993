package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

const (
	// rate is how many calls a second are made while something goes on.
	rate = 10
	// callLimit is how long a call may take. The API server waits for caject for 3 s, and then allows.
	callLimit = 15 * time.Second
)

// call creates an annotated CRD, and stores nothing. filled says whether its caBundle was filled in the answer.
func (r *rig) call(ctx context.Context, n int) (filled bool, err error) {
	object := playground.NewCRD(fmt.Sprintf("call%d", n), playground.FromSecret(trial.Namespace, source(n%sources)))
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	if err := r.client.Create(ctx, object, client.DryRunAll); err != nil {
		return false, err
	}
	return !playground.HoldsNone(object), nil
}

// failedOpen returns how many requests the API server has allowed so far although it could not reach caject.
func (r *rig) failedOpen(ctx context.Context) (int, error) {
	api, err := rest.HTTPClientFor(r.Config)
	if err != nil {
		return 0, err
	}
	families, err := playground.MetricsAt(ctx, api, strings.TrimSuffix(r.Config.Host, "/")+"/metrics")
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, metric := range families["apiserver_admission_webhook_fail_open_count"].GetMetric() {
		if slices.ContainsFunc(metric.Label, func(l *dto.LabelPair) bool { return l.GetName() == "name" && l.GetValue() == "inject.caject.io" }) {
			sum += metric.Counter.GetValue()
		}
	}
	return int(sum), nil
}

// calls is what came of calls at a steady rate.
type calls struct {
	made, unfilled, failedOpen int
	errs                       []error
	slowest                    time.Duration
	// lastUnfilled is when the last call that was not filled began; zero if all were.
	lastUnfilled time.Time
}

// failed returns errCallFailed if a call failed or was not filled.
func (c calls) failed() error {
	if c.failedOpen == 0 && c.unfilled == 0 && len(c.errs) == 0 {
		return nil
	}
	return errors.Join(append(c.errs, fmt.Errorf("%w: %d of %d failed open, %d were not filled, the slowest took %s",
		errCallFailed, c.failedOpen, c.made, c.unfilled, c.slowest))...)
}

// during makes calls from before something happens until a while after it, and returns what came of them.
func (r *rig) during(ctx context.Context, while time.Duration, something func(context.Context) error) (calls, error) {
	var c calls
	before, err := r.failedOpen(ctx)
	if err != nil {
		return c, err
	}
	calling, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { r.keepCalling(calling, ctx, &c) })
	err = playground.Sleep(ctx, time.Second)
	if err == nil {
		err = something(ctx)
	}
	if err == nil {
		err = playground.Sleep(ctx, while)
	}
	stop()
	all.Wait()
	if err != nil {
		return c, err
	}
	after, err := r.failedOpen(ctx)
	if after < before {
		before = 0 // the API server was started anew
	}
	c.failedOpen = after - before
	return c, err
}

// keepCalling makes calls until ctx ends, whether those before have been answered or not.
func (r *rig) keepCalling(ctx, each context.Context, c *calls) {
	var (
		mu  sync.Mutex
		all sync.WaitGroup
	)
	defer all.Wait()
	for n := 0; ctx.Err() == nil; n++ {
		all.Go(func() {
			began := time.Now()
			filled, err := r.call(each, n)
			mu.Lock()
			defer mu.Unlock()
			c.made++
			c.slowest = max(c.slowest, time.Since(began))
			switch {
			case err != nil:
				c.errs = append(c.errs, err)
			case !filled:
				c.unfilled++
			default:
				return
			}
			if began.After(c.lastUnfilled) {
				c.lastUnfilled = began
			}
		})
		_ = playground.Sleep(ctx, time.Second/rate)
	}
}
