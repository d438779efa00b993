// Package bench measures caject and cert-manager's cainjector in turn, each in a cluster of its own that is filled alike: a real
// etcd and kube-apiserver on this machine. It makes a table, a JSON file and a plot of it. docs/benchmark.md has the method.
//
// A figure is one of this machine, which all processes share; those of one run can be compared.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/caject/caject/test/playground"
)

// Options say how much is measured.
type Options struct {
	// Caject and Cainjector are the programs.
	Caject, Cainjector string
	// CRDs is how many CRDs of 100 KB there are.
	CRDs int
	// Secrets is how many Secrets that nobody names there are, one value after the other, ascending.
	Secrets []int
	// Starts is how often each injector is started for each number of Secrets, and Window for how long it is looked at each time.
	Starts int
	Window time.Duration
	// Rate is how many of these Secrets are written in a second, for Span.
	Rate int
	Span time.Duration
	// Targets is how many are created and rotated at once, from each number of Sources.
	Targets int
	Sources []int
	// Creates is how many webhook configurations and APIServices are created one after the other; a fifth as many CRDs.
	Creates int
	// Rotated is how many targets of one kind are rotated at once, Rotations times.
	Rotated, Rotations int
	// Published are the numbers of sources with which the policies are measured, ascending, by Writes writes of each sort.
	Published []int
	Writes    int
	// Patience is how long anything may take; what takes longer is an error, but for the sources to be published: those of
	// Published that are not there in time are left out, with a note.
	Patience time.Duration
	// StartsOnly leaves out all but the starts.
	StartsOnly bool
	// Settle is how long is waited, at most, for the API server to have little to do.
	Settle time.Duration
}

// Defaults are those of make bench: about twelve minutes on two cores.
func Defaults() Options {
	return Options{
		CRDs: 150, Secrets: []int{0, 5000, 20_000}, Starts: 5, Window: 4 * time.Second,
		Rate: 200, Span: 10 * time.Second,
		Targets: 900, Sources: []int{20, 200},
		Creates: 100, Rotated: 40, Rotations: 7,
		Published: []int{1, 50, 500, 5000}, Writes: 100,
		Patience: 2 * time.Minute, Settle: 20 * time.Second,
	}
}

// Quick does all that Defaults do, with numbers that say nothing.
func Quick() Options {
	return Options{
		CRDs: 5, Secrets: []int{0, 200}, Starts: 1, Window: 2 * time.Second,
		Rate: 50, Span: time.Second,
		Targets: 30, Sources: []int{2, 6},
		Creates: 5, Rotated: 5, Rotations: 1,
		Published: []int{1, 5}, Writes: 5,
		Patience: time.Minute, Settle: 2 * time.Second,
	}
}

// session is one subject in its cluster.
type session struct {
	Options
	*cluster
	injector *injector // nil where there is none
	report   *Report
	progress *progress
}

// Run measures all, and says on out what it is at. The report holds what was measured until an error.
func Run(ctx context.Context, o Options, out io.Writer) (*Report, error) {
	report := &Report{About: map[string]string{
		"cpus": fmt.Sprint(runtime.NumCPU()), "go": runtime.Version(), "cert-manager": playground.CertManager,
		"crds": fmt.Sprint(o.CRDs), "time": time.Now().UTC().Format(time.RFC3339),
	}}
	root, err := playground.Root()
	if err != nil {
		return report, err
	}
	p := newProgress(out)
	err = errors.Join(
		measure(ctx, o, root, report, p, Cainjector),
		measure(ctx, o, root, report, p, Caject),
	)
	return report, err
}

// measure does all steps with one subject, and those without any where cainjector, which needs nothing of the API server, is
// installed and does not run.
func measure(ctx context.Context, o Options, root string, report *Report, p *progress, subject Subject) (err error) {
	s := &session{Options: o, report: report, progress: p}
	defer func() { err = s.close(err) }()
	p.subject = subject
	install, program := installCaject, o.Caject
	if subject == Cainjector {
		install, program = installCainjector, o.Cainjector
	}
	if err := p.step("etcd, kube-apiserver and what is installed for the injector", func() (err error) {
		if s.cluster, err = newCluster(ctx, root); err != nil {
			return err
		}
		if report.About["kubernetes"], err = s.version(); err != nil {
			return err
		}
		s.injector, err = install(ctx, s.cluster, program)
		return err
	}); err != nil {
		return err
	}
	return s.steps(ctx)
}

// close ends all that was started, and returns err with what the injector has logged.
func (s *session) close(err error) error {
	if i := s.injector; i != nil {
		if err != nil {
			err = fmt.Errorf("%s: %w\n%s", i.subject, err, i.log())
		}
		err = errors.Join(err, i.end(), i.meter.Close())
	}
	if s.cluster != nil {
		err = errors.Join(err, s.cluster.close())
	}
	return err
}

// steps does them in an order in which none leaves anything behind that matters to the next.
func (s *session) steps(ctx context.Context) error {
	if err := s.fill(ctx); err != nil || s.StartsOnly {
		return err
	}
	if s.injector.subject == Cainjector {
		if err := s.without(ctx); err != nil {
			return err
		}
	}
	if err := s.progress.step("start it", s.injector.run); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{s.unrelated, s.many, s.latencies, s.firsts, s.rotations, s.largeUpdates} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if s.injector.subject == Caject {
		return s.policies(ctx)
	}
	return nil
}

// without measures what is to be compared with neither injector.
func (s *session) without(ctx context.Context) error {
	none := *s
	none.injector = nil
	return errors.Join(none.unrelated(ctx), none.floor(ctx))
}

// subject is what is measured now.
func (s *session) subject() Subject {
	if s.injector == nil {
		return None
	}
	return s.injector.subject
}

// awaitAndSettle returns once some targets are filled, and the API server has little to do.
func (s *session) awaitAndSettle(ctx context.Context, filled *sight) error {
	if err := s.lookout.wait(ctx, filled); err != nil {
		return err
	}
	return s.settle(ctx, s.Settle)
}

// fill adds CRDs, then Secrets, and has the injector start with each number of them.
func (s *session) fill(ctx context.Context) error {
	if err := s.progress.step(fmt.Sprintf("%d CRDs of 100 KB", s.CRDs), func() error {
		return errors.Join(s.addCRDs(ctx, s.CRDs), s.settle(ctx, 3*s.Settle))
	}); err != nil {
		return err
	}
	for _, n := range s.Secrets {
		if err := s.progress.step(fmt.Sprintf("%d other Secrets", n), func() error {
			return errors.Join(s.addOthers(ctx, n), s.settle(ctx, s.Settle))
		}); err != nil {
			return err
		}
		if err := s.starts(ctx, n); err != nil {
			return err
		}
	}
	return nil
}
