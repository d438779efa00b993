package quiet

import (
	"context"
	"errors"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// faults are rotations amid which something happens to a replica. They are played one after the other.
var faults = []scenario{
	{name: "all replicas killed, the source rotated, all started again", slug: "killedall", replicas: 1, play: allKilled},
	{name: "a follower killed amid a rotation, started again after the next", slug: "killedfollower", replicas: 2, play: func(ctx context.Context, a *act) error {
		return killed(ctx, a, (*stage).follower)
	}},
	{name: "the leader killed amid a rotation, started again after the next", slug: "killedleader", replicas: 1, play: func(ctx context.Context, a *act) error {
		return killed(ctx, a, (*stage).leader)
	}},
	{name: "a follower frozen between two rotations", slug: "frozenfollower", replicas: 2, play: func(ctx context.Context, a *act) error {
		return frozen(ctx, a, (*stage).follower)
	}},
	{name: "the leader frozen between two rotations", slug: "frozenleader", replicas: 1, play: func(ctx context.Context, a *act) error {
		return frozen(ctx, a, (*stage).leader)
	}},
	{name: "a follower cut off amid two rotations", slug: "cutfollower", replicas: 2, play: func(ctx context.Context, a *act) error {
		return cut(ctx, a, (*stage).follower)
	}},
	{name: "the leader cut off amid two rotations", slug: "cutleader", replicas: 1, play: func(ctx context.Context, a *act) error {
		return cut(ctx, a, (*stage).leader)
	}},
}

// leader returns the replica that leads.
func (s *stage) leader(ctx context.Context) (replica *playground.Replica, err error) {
	err = eventually(ctx, func(context.Context) error {
		if replica = s.world.Leader(); replica == nil {
			return errors.New("no replica leads")
		}
		return nil
	})
	return replica, err
}

// follower returns a replica that does not lead.
func (s *stage) follower(ctx context.Context) (*playground.Replica, error) {
	leader, err := s.leader(ctx)
	if err != nil {
		return nil, err
	}
	for _, replica := range s.world.Replicas.All() {
		if replica != leader {
			return replica, nil
		}
	}
	return nil, errors.New("there is no other replica than the leader")
}

// chosen is a replica that something happens to.
type chosen func(*stage, context.Context) (*playground.Replica, error)

// frozen stops a replica after a rotation has been followed by somebody, and before the next one.
func frozen(ctx context.Context, a *act, choose chosen) error {
	first, second, third := a.ca("1"), a.ca("2"), a.ca("3")
	if err := a.begin(ctx, first); err != nil {
		return err
	}
	replica, err := choose(a.stage, ctx)
	if err != nil {
		return err
	}
	defer func() { _ = replica.Signal(syscall.SIGCONT) }() // whatever went wrong, the next scenario is not about it
	return steps(
		func() error { return a.rotate(ctx, second) },
		func() error { return a.follow(ctx, second) },
		func() error { return replica.Signal(syscall.SIGSTOP) },
		func() error { return a.rotate(ctx, third) },
		func() error { return a.meanwhile(ctx, bundle{}.must(first).may(second).must(third)) },
		func() error { return replica.Signal(syscall.SIGCONT) },
		func() error { return a.hold(ctx, must(first, second, third)) },
	)
}

// meanwhile gives the replicas that can act the time to do so. Where there is only one it cannot.
func (a *act) meanwhile(ctx context.Context, want bundle) error {
	if a.stage.replicas == 1 {
		time.Sleep(2 * time.Second)
		return nil
	}
	return a.hold(ctx, want)
}

// cut cuts a replica off from the API server, and rotates twice before it is back.
func cut(ctx context.Context, a *act, choose chosen) error {
	first, second, third := a.ca("1"), a.ca("2"), a.ca("3")
	if err := a.begin(ctx, first); err != nil {
		return err
	}
	replica, err := choose(a.stage, ctx)
	if err != nil {
		return err
	}
	proxy := a.stage.world.Proxy(replica)
	proxy.Set(trial.Trouble{Cut: true})
	defer proxy.Set(trial.Trouble{})
	return steps(
		func() error {
			return eventually(ctx, func(context.Context) error {
				if !proxy.Felt() {
					return errors.New("the replica has not felt that it is cut off")
				}
				return nil
			})
		},
		func() error { return a.rotate(ctx, second) },
		func() error { return a.meanwhile(ctx, must(first, second)) },
		func() error { return a.rotate(ctx, third) },
		func() error { return a.meanwhile(ctx, must(first, second, third)) },
		func() error { return proxy.Relieve() },
		func() error { return a.hold(ctx, a.unread(must(first), second).must(third)) },
	)
}

// unread adds a certificate that a single replica could not read in time; others have read it.
func (a *act) unread(b bundle, ca []byte) bundle {
	if a.stage.replicas == 1 {
		return b.may(ca)
	}
	return b.must(ca)
}

// killed kills a replica at a random moment of a rotation.
func killed(ctx context.Context, a *act, choose chosen) error {
	first, second, third, last := a.ca("1"), a.ca("2"), a.ca("3"), a.ca("4")
	if err := a.begin(ctx, first); err != nil {
		return err
	}
	replica, err := choose(a.stage, ctx)
	if err != nil {
		return err
	}
	return steps(
		func() error { return a.rotate(ctx, second) },
		func() error { return a.hold(ctx, must(first, second)) },
		func() error { return a.rotate(ctx, third) },
		func() error { time.Sleep(rand.N(hasty)); return replica.Signal(syscall.SIGKILL) },
		func() error { return a.rotate(ctx, last) },
		func() error { return a.stage.world.Restart(replica) },
		func() error { return a.stage.ready(ctx) },
		func() error { return a.hold(ctx, must(first, second).may(third).must(last)) },
	)
}

func allKilled(ctx context.Context, a *act) error {
	first, second, third := a.ca("1"), a.ca("2"), a.ca("3")
	return steps(
		func() error { return a.begin(ctx, first) },
		func() error { return a.rotate(ctx, second) },
		func() error { return a.hold(ctx, must(first, second)) },
		func() error { return a.stage.restartAll(ctx, func() error { return a.rotate(ctx, third) }) },
		func() error { return a.hold(ctx, must(first, second, third)) },
	)
}

// restartAll kills all replicas and starts as many, with something that happens while none runs.
func (s *stage) restartAll(ctx context.Context, meanwhile func() error) error {
	all := s.world.Replicas.All()
	for _, replica := range all {
		if err := replica.Signal(syscall.SIGKILL); err != nil {
			return err
		}
	}
	if err := meanwhile(); err != nil {
		return err
	}
	for _, replica := range all {
		if err := s.world.Restart(replica); err != nil {
			return err
		}
	}
	return s.ready(ctx)
}

// ready waits until all replicas are.
func (s *stage) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	return s.world.Replicas.WaitReady(ctx)
}
