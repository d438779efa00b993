package alive

import (
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

func TestLoop(t *testing.T) {
	const limit, pause = time.Minute, 10 * time.Second
	for sentence, test := range map[string]struct {
		pause time.Duration
		do    func(*Loop, *clocktesting.FakeClock)
		want  string // part of the error
	}{
		"has just begun": {pause, func(*Loop, *clocktesting.FakeClock) {}, ""},
		"is at work":     {pause, func(l *Loop, c *clocktesting.FakeClock) { l.Turn(); c.Step(limit) }, ""},
		"hangs":          {pause, func(l *Loop, c *clocktesting.FakeClock) { l.Turn(); c.Step(limit + time.Second) }, "at the same thing for 1m1s"},
		"one of two hangs": {0, func(l *Loop, c *clocktesting.FakeClock) {
			l.Turn()
			c.Step(limit)
			l.Turn()()
			c.Step(time.Second)
		}, "at the same thing"},
		"has ended its turn": {pause, func(l *Loop, c *clocktesting.FakeClock) {
			end := l.Turn()
			c.Step(2 * limit)
			end()
		}, ""},
		"pauses":              {pause, func(l *Loop, c *clocktesting.FakeClock) { l.Turn()(); c.Step(pause) }, ""},
		"does not come again": {pause, func(l *Loop, c *clocktesting.FakeClock) { l.Turn()(); c.Step(limit + pause + time.Second) }, "nothing for 1m11s"},
		"stands by all day":   {pause, func(_ *Loop, c *clocktesting.FakeClock) { c.Step(24 * time.Hour) }, ""},
		"hangs in its first turn": {pause, func(l *Loop, c *clocktesting.FakeClock) {
			c.Step(24 * time.Hour)
			l.Turn()
			c.Step(limit + time.Second)
		}, "at the same thing for 1m1s"},
		"waits for work all day": {0, func(l *Loop, c *clocktesting.FakeClock) { l.Turn()(); c.Step(24 * time.Hour) }, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			c := clocktesting.NewFakeClock(time.Unix(0, 0))
			l := NewLoop("loop", limit, test.pause, c)
			test.do(l, c)
			if err := l.Check(nil); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("it says %v, not …%s…", err, test.want)
			}
		})
	}
}
