package playground

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// echo starts a server that answers each line with its name, and returns its address.
func echo(t *testing.T, name string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			caller, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer caller.Close()
				for lines := bufio.NewScanner(caller); lines.Scan(); {
					fmt.Fprintln(caller, name)
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// rigged is a balancer before two servers, of which a is the first one to be called.
type rigged struct {
	*APIServers
	a, b *APIServer
}

func newRigged(t *testing.T) *rigged {
	t.Helper()
	s := &APIServers{}
	s.balancer = &balancer{tries: 2, route: s.route}
	for _, name := range []string{"b", "a"} {
		s.all = append(s.all, &APIServer{Config: &rest.Config{Host: "https://" + echo(t, name)}, set: s, road: newRoad()})
	}
	if err := s.balancer.listenAt("localhost:0"); err != nil {
		t.Fatal(err)
	}
	s.serving.Go(s.balancer.serve)
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return &rigged{s, s.all[1], s.all[0]}
}

// call is a connection to the balancer.
type call struct {
	net.Conn
	lines *bufio.Reader
}

func (r *rigged) call(t *testing.T) *call {
	t.Helper()
	return dial(t, r.balancer)
}

func dial(t *testing.T, b *balancer) *call {
	t.Helper()
	connection, err := net.Dial("tcp", b.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return &call{connection, bufio.NewReader(connection)}
}

// ask returns who answers within patience, or "" if nobody does, and after what time.
func (c *call) ask(t *testing.T, patience time.Duration) (string, time.Duration) {
	t.Helper()
	began := time.Now()
	_ = c.SetDeadline(began.Add(patience))
	fmt.Fprintln(c, "who?") // it may be cut
	line, err := c.lines.ReadString('\n')
	if err != nil {
		return "", time.Since(began)
	}
	return line[:len(line)-1], time.Since(began)
}

func TestWhatTheBalancerDoes(t *testing.T) {
	t.Parallel()
	const long, short = 30 * time.Second, 200 * time.Millisecond
	expect := func(t *testing.T, c *call, want string, patience, least time.Duration) {
		t.Helper()
		if got, took := c.ask(t, patience); got != want || took < least {
			t.Errorf("answered by %q after %s, not by %q after %s at least", got, took, want, least)
		}
	}
	for sentence, test := range map[string]func(*testing.T, *rigged, *call){
		"each in turn, and a connection stays where it is": func(t *testing.T, r *rigged, first *call) {
			expect(t, r.call(t), "b", long, 0)
			expect(t, first, "a", long, 0)
		},
		"a server that does not listen is passed over": func(t *testing.T, r *rigged, _ *call) {
			r.mu.Lock()
			r.a.Config.Host = "https://localhost:1"
			r.mu.Unlock()
			expect(t, r.call(t), "b", long, 0)
			expect(t, r.call(t), "b", long, 0)
		},
		"taken out: those of before are cut, new ones go elsewhere": func(t *testing.T, r *rigged, first *call) {
			r.a.TakeOut()
			expect(t, first, "", long, 0)
			expect(t, r.call(t), "b", long, 0)
			expect(t, r.call(t), "b", long, 0)
			r.a.PutBack()
			expect(t, r.call(t), "a", long, 0)
		},
		"silent: what was said arrives once it is over": func(t *testing.T, r *rigged, first *call) {
			r.a.SetWay(Silent)
			expect(t, first, "", short, 0)
			r.a.SetWay(Open)
			expect(t, first, "a", long, 0)
		},
		"refused: those of before are cut, new ones end at once": func(t *testing.T, r *rigged, first *call) {
			r.a.SetWay(Refused)
			expect(t, first, "", long, 0)
			expect(t, r.call(t), "b", long, 0)
			expect(t, r.call(t), "", long, 0)
		},
		"slow each way": func(t *testing.T, r *rigged, first *call) {
			r.a.SetWay(Slow)
			expect(t, first, "a", long, 2*SlowBy)
		},
		"a server whose answers lag": func(t *testing.T, r *rigged, first *call) {
			r.a.road.setLag(time.Second)
			expect(t, first, "a", long, time.Second)
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			r := newRigged(t)
			first := r.call(t)
			expect(t, first, "a", long, 0)
			test(t, r, first)
		})
	}
}

// TestTheWayToReplicas is about connections that are cut whenever the way changes, and lost while it is silent.
func TestTheWayToReplicas(t *testing.T) {
	t.Parallel()
	const long, short = 30 * time.Second, 200 * time.Millisecond
	_, port, err := net.SplitHostPort(echo(t, "replica"))
	if err != nil {
		t.Fatal(err)
	}
	replica := &Replica{}
	if replica.WebhookPort, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	r := &Replicas{road: newRoad(), ready: []*Replica{replica}}
	b := &balancer{route: r.route, tries: 1}
	if err := b.listenAt("localhost:0"); err != nil {
		t.Fatal(err)
	}
	go b.serve()
	t.Cleanup(func() { _ = b.close() })
	ask := func(c *call, want string, patience time.Duration) {
		t.Helper()
		if got, _ := c.ask(t, patience); got != want {
			t.Errorf("answered by %q, not by %q", got, want)
		}
	}
	before := dial(t, b)
	ask(before, "replica", long)
	r.SetWay(Silent)
	ask(before, "", long)
	lost := dial(t, b)
	ask(lost, "", short)
	r.SetWay(Open)
	ask(lost, "", long)
	ask(dial(t, b), "replica", long)
	r.SetWay(Refused)
	ask(dial(t, b), "", long)
	r.SetWay(Open)
	ask(dial(t, b), "replica", long)
	r.mu.Lock()
	replica.draining = true
	r.mu.Unlock()
	ask(dial(t, b), "", long)
}
