package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caject/caject/test/playground"
)

// The rows of a start.
const (
	startGroup     = "Start, %d other Secrets in the cluster"
	startFirst     = "to the first injection"
	startRead      = "read from the API server"
	startAPIServer = "API server's CPU"
	startInjector  = "injector's CPU"
	startAnonymous = "memory of its own at the end (RssAnon)"
	startPeak      = "most memory resident (VmHWM)"
)

// starts starts the injector several times, each time with one webhook configuration that waits to be filled.
func (s *session) starts(ctx context.Context, secrets int) error {
	return s.progress.step(fmt.Sprintf("%d starts with %d other Secrets", s.Starts, secrets), func() error {
		for range s.Starts {
			if err := s.startOnce(ctx, secrets); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *session) startOnce(ctx context.Context, secrets int) error {
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	name := s.name("start") // of a source that nobody has named, or the policy would fill it
	ca, err := s.addSource(ctx, name)
	if err != nil {
		return err
	}
	target := playground.NewValidating(name, 1, playground.FromSecret(namespace, name))
	filled := s.lookout.expectAll(ca, target)
	if err := s.client.Create(ctx, target); err != nil {
		return err
	}
	if err := s.settle(ctx, s.Settle); err != nil {
		return err
	}
	before, err := s.use()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := s.injector.run(); err != nil {
		return err
	}
	if err := errors.Join(s.lookout.wait(ctx, filled), playground.Sleep(ctx, s.Window-time.Since(began))); err != nil {
		return err
	}
	if err := s.reportStart(secrets, before, filled.last.Sub(began)); err != nil {
		return err
	}
	return errors.Join(s.remove(ctx, target), s.injector.end())
}

// reportStart takes down what a start has needed until now.
func (s *session) reportStart(secrets int, before use, first time.Duration) error {
	after, err := s.use()
	if err != nil {
		return err
	}
	memory, err := s.injector.process.Memory()
	if err != nil {
		return err
	}
	used := after.since(before)
	row := func(what string, unit Unit) Key { return Key{startGroup, secrets, what, unit} }
	s.report.AddTimes(row(startFirst, Seconds), s.subject(), first)
	s.report.AddBytes(row(startRead, Megabytes), s.subject(), used.read)
	s.report.AddTimes(row(startAPIServer, Seconds), s.subject(), used.apiServer)
	s.report.AddTimes(row(startInjector, Seconds), s.subject(), used.injector)
	s.report.AddBytes(row(startAnonymous, Megabytes), s.subject(), memory.Anonymous)
	s.report.AddBytes(row(startPeak, Megabytes), s.subject(), memory.Peak)
	return nil
}
