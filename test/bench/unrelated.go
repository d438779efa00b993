package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/caject/caject/test/playground"
)

// unrelated writes Secrets that nobody names, so many in a second, and measures what that costs API server and injector.
func (s *session) unrelated(ctx context.Context) error {
	group := fmt.Sprintf("%d writes of such Secrets a second, for %.0f s", s.Rate, s.Span.Seconds())
	return s.progress.step(group, func() error {
		if err := s.settle(ctx, s.Settle); err != nil {
			return err
		}
		before, err := s.use()
		if err != nil {
			return err
		}
		began := time.Now()
		n := int(s.Span.Seconds() * float64(s.Rate))
		if err := s.writePaced(ctx, n); err != nil {
			return err
		}
		took := time.Since(began)
		// What the writes have set off comes a little later.
		after, err := s.useAfter(ctx, time.Second)
		if err != nil {
			return err
		}
		used := after.since(before)
		row := func(what string, unit Unit) Key { return Key{group, s.others, what, unit} }
		s.report.AddTimes(row("all written", Seconds), s.subject(), took)
		s.report.AddTimes(row("API server's CPU", Seconds), s.subject(), used.apiServer)
		if s.injector != nil {
			s.report.AddTimes(row("injector's CPU", Seconds), s.subject(), used.injector)
			s.report.AddBytes(row("read from the API server", Megabytes), s.subject(), used.read)
		}
		return nil
	})
}

// useAfter is use a moment later.
func (s *session) useAfter(ctx context.Context, d time.Duration) (use, error) {
	if err := playground.Sleep(ctx, d); err != nil {
		return use{}, err
	}
	return s.use()
}

// writePaced writes n times, at Rate; the API server may be slower.
func (s *session) writePaced(ctx context.Context, n int) error {
	ticker := time.NewTicker(time.Second / time.Duration(s.Rate))
	defer ticker.Stop()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(64)
	for i := range n {
		select {
		case <-ctx.Done():
			return errors.Join(group.Wait(), ctx.Err())
		case <-ticker.C:
		}
		group.Go(func() error { return s.client.Update(ctx, other(i%s.others)) })
	}
	return group.Wait()
}
