package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// fault is something that goes wrong for a while.
type fault struct {
	name string
	// begin, during (once, half way) and end bring it about; nil does nothing. What end returns is over.
	begin, during, end func(context.Context) error
	// lasts is how long it does, at least.
	lasts time.Duration
	// apiServerAway says that nobody can write meanwhile.
	apiServerAway bool
}

// faults are all that are tried; those that take long in the long form only.
func (r *rig) faults(long bool) []fault {
	frozen := []fault{r.frozen(3 * time.Second)} // less than caject's rounds take to come
	if long {
		frozen = append(frozen, r.frozen(30*time.Second))
	}
	control := r.world.Control
	return slices.Concat(frozen, r.ofOne(), []fault{
		{
			name: "API server killed, started again", lasts: 2 * time.Second, apiServerAway: true,
			begin: func(context.Context) error { return control.KillAPIServer() },
			end:   func(context.Context) error { return control.StartAPIServer() },
		},
		{
			name: "etcd killed, started again", lasts: 2 * time.Second, apiServerAway: true,
			begin: func(context.Context) error { return control.KillEtcd() },
			end:   r.startEtcd,
		},
		{name: "caject killed amid rotation, started again", begin: r.killCaject, end: r.restartCaject, lasts: time.Second},
		// Those that start anew agree on all; the faults that they live through come last, and the quiet span follows.
		{
			name: "CA Secret read-only, caject restarted, then the Secret emptied", lasts: 4 * time.Second,
			begin: r.readOnly, during: r.emptySecret, end: r.writable,
		},
		r.link("connection cut", trial.Trouble{Cut: true}),
		r.link("connection hangs", trial.Trouble{Hang: true}),
		r.link("connection slow (up to 500 ms a write)", trial.Trouble{Delay: 500 * time.Millisecond}),
		r.link("connection garbles a third of the writes", trial.Trouble{Garble: true}),
		r.link("watches expired (410)", trial.Trouble{Watch: http.StatusGone}),
		r.link("API server overloaded (429)", trial.Trouble{Answer: http.StatusTooManyRequests}),
		r.link("API server unavailable (503)", trial.Trouble{Answer: http.StatusServiceUnavailable}),
	})
}

// ofOne are the faults of one of several API servers, the last one. The proxy is connected to it when they begin. (That it says nothing any
// more is tried in test/apiservers: here it would be for the proxy to notice.)
func (r *rig) ofOne() []fault {
	if r.world.APIServers == nil {
		return nil
	}
	all := r.world.APIServers.All()
	one := all[len(all)-1]
	happens := func(name string, begin func() error, end func(context.Context) error) fault {
		return fault{
			name: "one API server " + name, lasts: 4 * time.Second,
			begin: func(ctx context.Context) error {
				r.population.Through(r.world.Clients[:len(all)-1]...)
				return errors.Join(r.world.APIServers.Gather(ctx, one, 1), begin())
			},
			end: func(ctx context.Context) error {
				defer r.population.Through(r.world.Clients...)
				return end(ctx)
			},
		}
	}
	set := func(w playground.Way) { one.SetWay(w) }
	return []fault{
		happens("killed, started again", one.Kill, one.Start),
		happens("refuses connections", func() error { set(playground.Refused); return nil }, func(context.Context) error { set(playground.Open); return nil }),
		happens("slow", func() error { set(playground.Slow); return nil }, func(context.Context) error { set(playground.Open); return nil }),
		happens("a second behind etcd", func() error { one.SetLag(time.Second); return nil }, func(context.Context) error { one.SetLag(0); return nil }),
	}
}

// frozen is a caject that does not run for a while.
func (r *rig) frozen(lasts time.Duration) fault {
	return fault{
		name: fmt.Sprintf("caject frozen (SIGSTOP) for %s", lasts), lasts: lasts,
		begin: func(context.Context) error { return r.signal(syscall.SIGSTOP) },
		end:   func(context.Context) error { return r.signal(syscall.SIGCONT) },
	}
}

// link is trouble between caject and the API server.
func (r *rig) link(name string, t trial.Trouble) fault {
	return fault{
		name: name, lasts: 4 * time.Second,
		begin: func(context.Context) error { r.proxy.Set(t); return nil },
		end:   func(context.Context) error { return r.proxy.Relieve() },
	}
}

func (r *rig) signal(s syscall.Signal) error {
	for _, replica := range r.world.Replicas.All() {
		if err := replica.Signal(s); err != nil {
			return err
		}
	}
	return nil
}

// startEtcd returns once the API server works with it.
func (r *rig) startEtcd(ctx context.Context) error {
	if err := r.world.Control.StartEtcd(); err != nil {
		return err
	}
	return eventually(ctx, time.Minute, func() error {
		return r.world.Client.Get(ctx, client.ObjectKey{Name: "default"}, &corev1.Namespace{})
	})
}

// killCaject kills it at a random moment after all sources have begun to change.
func (r *rig) killCaject(ctx context.Context) error {
	if err := r.rotate(ctx); err != nil {
		return err
	}
	time.Sleep(rand.N(200 * time.Millisecond))
	return r.signal(syscall.SIGKILL)
}

func (r *rig) restartCaject(context.Context) error {
	for _, replica := range r.world.Replicas.All() {
		if err := r.world.Restart(replica); err != nil {
			return err
		}
	}
	return nil
}

// caRole is what lets caject write the Secret with its CA.
var caRole = client.ObjectKey{Namespace: playground.Namespace, Name: "caject"}

// readOnly takes caject's right to write its Secret, and starts it again: it is ready with the CA that is there.
func (r *rig) readOnly(ctx context.Context) error {
	if err := r.setVerbs(ctx, "get"); err != nil {
		return err
	}
	if err := r.signal(syscall.SIGKILL); err != nil {
		return err
	}
	if err := r.restartCaject(ctx); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return r.world.Replicas.WaitReady(wait)
}

// emptySecret takes the CA from the Secret; caject still has it, and is to put it back when it can.
func (r *rig) emptySecret(ctx context.Context) error {
	secret, err := r.caSecret(ctx)
	if err != nil {
		return err
	}
	r.caBefore = string(secret.Data["ca.crt"])
	secret.Data = nil
	return r.world.Client.Update(ctx, secret)
}

func (r *rig) caSecret(ctx context.Context) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := r.world.Client.Get(ctx, client.ObjectKey{Namespace: playground.Namespace, Name: "caject-ca"}, secret)
	return secret, err
}

// writable gives the right back.
func (r *rig) writable(ctx context.Context) error {
	return r.setVerbs(ctx, "get", "update", "patch", "create")
}

// setVerbs says what caject may do with its Secret.
func (r *rig) setVerbs(ctx context.Context, verbs ...string) error {
	role := &rbacv1.Role{}
	if err := r.world.Client.Get(ctx, caRole, role); err != nil {
		return err
	}
	for i, rule := range role.Rules {
		if len(rule.Resources) == 1 && rule.Resources[0] == "secrets" {
			role.Rules[i].Verbs = verbs
			return r.world.Client.Update(ctx, role)
		}
	}
	return fmt.Errorf("the Role %s says nothing of Secrets", caRole)
}

// eventually returns once condition does nil; its last error when ctx, or limit, ends.
func eventually(ctx context.Context, limit time.Duration, condition func() error) error {
	return playground.Eventually(ctx, limit, 20*time.Millisecond, func(context.Context) error { return condition() })
}
