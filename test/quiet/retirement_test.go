package quiet

import (
	"context"
	"math/rand/v2"
	"syscall"
	"time"
)

// retirements are rotations in a world in which a certificate is to go three seconds after it has left its source.
var retirements = []scenario{
	{name: "a certificate is retired", slug: "retired", uncounted: true, play: retired},
	{name: "two are, after two rotations", slug: "retiredtwo", uncounted: true, play: retiredTwo},
	{name: "the source has a certificate again that was retired", slug: "returned", uncounted: true, play: returned},
}

// retirementFaults have something happen to a replica amid a retirement.
var retirementFaults = []scenario{
	{name: "all replicas are started again after a certificate was retired", slug: "retiredall", replicas: 1, uncounted: true, play: retiredAll},
	{name: "the leader is killed about when a certificate is retired", slug: "retiredkilled", replicas: 1, uncounted: true, play: retiredKilled},
	{name: "a certificate is retired while a follower is frozen", slug: "retiredfollower", replicas: 2, uncounted: true, play: func(ctx context.Context, a *act) error {
		return retiredFrozen(ctx, a, (*stage).follower)
	}},
	{name: "a certificate is retired while the leader is frozen", slug: "retiredleader", replicas: 1, uncounted: true, play: func(ctx context.Context, a *act) error {
		return retiredFrozen(ctx, a, (*stage).leader)
	}},
}

// gone waits until all targets, and what is published, hold ca alone, and sees that a reset brings nothing else back.
func (a *act) gone(ctx context.Context, ca []byte) error {
	return steps(
		func() error { return a.hold(ctx, must(ca)) },
		func() error { return a.publish(ctx, must(ca)) },
		func() error { return a.resetAndHold(ctx, must(ca)) },
	)
}

func retired(ctx context.Context, a *act) error {
	first, second := a.ca("1"), a.ca("2")
	return steps(
		func() error { return a.begin(ctx, first) },
		func() error { return a.rotate(ctx, second) },
		func() error { return a.gone(ctx, second) },
	)
}

func retiredTwo(ctx context.Context, a *act) error {
	first, second, third := a.ca("1"), a.ca("2"), a.ca("3")
	return steps(
		func() error { return a.begin(ctx, first) },
		func() error { return a.rotateTwice(ctx, second, third) },
		func() error { return a.gone(ctx, third) },
	)
}

// returned rolls back when it is late: what a source has now is never retired.
func returned(ctx context.Context, a *act) error {
	first, second := a.ca("1"), a.ca("2")
	return steps(
		func() error { return a.begin(ctx, first) },
		func() error { return a.rotate(ctx, second) },
		func() error { return a.gone(ctx, second) },
		func() error { return a.rotate(ctx, first) },
		func() error { return a.follow(ctx, first) },
		func() error { return a.gone(ctx, first) },
	)
}

func retiredFrozen(ctx context.Context, a *act, choose chosen) error {
	first, second := a.ca("1"), a.ca("2")
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
		func() error { return a.meanwhile(ctx, must(second)) },
		func() error { return replica.Signal(syscall.SIGCONT) },
		func() error { return a.gone(ctx, second) },
	)
}

func retiredKilled(ctx context.Context, a *act) error {
	first, second := a.ca("1"), a.ca("2")
	if err := a.begin(ctx, first); err != nil {
		return err
	}
	leader, err := a.stage.leader(ctx)
	if err != nil {
		return err
	}
	return steps(
		func() error { return a.rotate(ctx, second) },
		func() error { return a.follow(ctx, second) },
		func() error { time.Sleep(rand.N(2 * interval)); return leader.Signal(syscall.SIGKILL) },
		func() error { return a.stage.world.Restart(leader) },
		func() error { return a.stage.ready(ctx) },
		func() error { return a.gone(ctx, second) },
	)
}

func retiredAll(ctx context.Context, a *act) error {
	first, second := a.ca("1"), a.ca("2")
	return steps(
		func() error { return a.begin(ctx, first) },
		func() error { return a.rotate(ctx, second) },
		func() error { return a.gone(ctx, second) },
		func() error { return a.stage.restartAll(ctx, func() error { return nil }) },
		func() error { return a.gone(ctx, second) },
	)
}
