package bench

import (
	"fmt"
	"io"
	"time"
)

// progress tells, one line a step, what is done and how long it took.
type progress struct {
	out     io.Writer
	begin   time.Time
	subject Subject
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out, begin: time.Now()}
	fmt.Fprintf(out, "%8s  %8s\n", "at", "took")
	return p
}

// step does something.
func (p *progress) step(what string, do func() error) error {
	begin := time.Now()
	err := do()
	result := ""
	if err != nil {
		result = ": failed"
	}
	fmt.Fprintf(p.out, "%6.1f s  %6.1f s  %s: %s%s\n", time.Since(p.begin).Seconds(), time.Since(begin).Seconds(), p.subject, what, result)
	return err
}
