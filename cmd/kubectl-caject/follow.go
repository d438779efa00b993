package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/survey"
)

// follow looks again and again, and prints what changes: with --wait until all is right, else until interrupted.
func (s *statusCommand) follow(ctx context.Context, reader *survey.Reader) error {
	if s.wait {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	shown := &progress{out: s, terminal: terminalOf(s.Out), states: map[cabundle.Target]string{}}
	var last *survey.Survey
	err := wait.PollUntilContextCancel(ctx, s.interval, true, func(ctx context.Context) (bool, error) {
		found, err := reader.Read(ctx, s.selection)
		switch {
		case err != nil && ctx.Err() == nil && (last == nil || apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err)):
			return false, err
		case err != nil: // the API server is away for a while, or the time is over
			return false, nil
		}
		last = found
		shown.show(found)
		return s.wait && found.Right() && len(found.Targets) > 0, nil
	})
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled):
		return err
	case !s.wait && ctx.Err() != nil:
		return nil // interrupted, as is the way to end it
	case last == nil:
		return fmt.Errorf("the API server did not answer within %s", s.timeout)
	}
	return s.gaveUp(last)
}

// gaveUp says what is missing when the time is over.
func (s *statusCommand) gaveUp(last *survey.Survey) error {
	if len(last.Targets) == 0 {
		fmt.Fprintf(s.ErrOut, "error: after %s there is no annotated object yet\n", s.timeout)
		return errNotRight
	}
	fmt.Fprint(s.ErrOut, strings.TrimPrefix(problems(terminalOf(s.ErrOut), last.Targets), "\n"))
	fmt.Fprintf(s.ErrOut, "error: not all was right after %s\n", s.timeout)
	return errNotRight
}

// progress shows one survey after the other: a screen that is drawn again on a terminal, else a line for each change.
type progress struct {
	out      *statusCommand
	terminal terminal
	states   map[cabundle.Target]string
	lines    int // that were drawn last
}

func (p *progress) show(found *survey.Survey) {
	if p.terminal.is {
		p.redraw(found)
		return
	}
	seen := map[cabundle.Target]bool{}
	for i := range found.Targets {
		f := &found.Targets[i]
		seen[f.Target()] = true
		line := fmt.Sprintf("%s: %s", f.Target(), f.State)
		if !f.State.Right() {
			line += ": " + sentence(f)
		}
		if p.states[f.Target()] != line {
			fmt.Fprintf(p.out.Out, "%s %s\n", time.Now().Format(time.TimeOnly), line)
		}
		p.states[f.Target()] = line
	}
	for target := range p.states {
		if !seen[target] {
			delete(p.states, target)
			fmt.Fprintf(p.out.Out, "%s %s: gone\n", time.Now().Format(time.TimeOnly), target)
		}
	}
}

// redraw draws over what was drawn last.
func (p *progress) redraw(found *survey.Survey) {
	var text strings.Builder
	right := 0
	var waiting []survey.Finding
	for i := range found.Targets {
		if found.Targets[i].State.Right() {
			right++
		} else {
			waiting = append(waiting, found.Targets[i])
		}
	}
	fmt.Fprintf(&text, "%s  %d of %d right\n", time.Now().Format(time.TimeOnly), right, len(found.Targets))
	const most = 10
	for i := range waiting {
		if i == most {
			fmt.Fprintf(&text, "  and %d more\n", len(waiting)-most)
			break
		}
		text.WriteString(p.terminal.cut(fmt.Sprintf("  %s: %s: %s", waiting[i].Target(), waiting[i].State, waiting[i].Message)) + "\n")
	}
	if p.lines > 0 {
		fmt.Fprintf(p.out.Out, "\x1b[%dA\x1b[J", p.lines) // up, and clear to the end
	}
	fmt.Fprint(p.out.Out, text.String())
	p.lines = strings.Count(text.String(), "\n")
}
