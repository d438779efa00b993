package matrix

import (
	"context"
	"fmt"
	"regexp"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// stage is a world with the matrix in it.
type stage struct {
	world    *trial.World
	observer *observer
	policies bool
	ctx      context.Context
	only     *regexp.Regexp

	mu     sync.Mutex
	digits map[string]mark // of certificates, by PEM
	pems   map[mark][]byte
}

// mark is a certificate: the group that it belongs to, or otherSource, and its digit.
type mark struct {
	owner string
	digit rune
}

func (s *stage) String() string {
	if s.policies {
		return "with policies"
	}
	return "without policies"
}

// wanted reports whether MATRIX_ONLY names a cell of the group.
func (s *stage) wanted(g *group) bool {
	for _, c := range g.cells {
		if s.only.MatchString(c.String()) {
			return true
		}
	}
	return false
}

// makeOther makes the source that targets are switched to, and rotates it while a target names it.
func (s *stage) makeOther(ctx context.Context) error {
	g := &group{stage: s, name: otherSource, change: &changes[0], reset: &resets[0]}
	c := &cell{group: g, kind: 1}
	if err := s.world.Client.Create(ctx, playground.NewSecret(trial.Namespace, g.name, s.certificate(g.name, '3'))); err != nil {
		return err
	}
	if _, err := c.create(ctx, playground.FromSecret(trial.Namespace, g.name)); err != nil {
		return err
	}
	if err := c.wait(ctx, expectation{must: "3"}); err != nil {
		return err
	}
	// What admission has filled in, and nobody has published, is forgotten at the next rotation.
	if err := g.published(ctx, metav1.ConditionTrue, ""); err != nil {
		return err
	}
	if err := g.rotate(ctx, '4'); err != nil {
		return err
	}
	return c.wait(ctx, expectation{must: "34"})
}

// certificate returns the CA of an owner that is called digit, in PEM.
func (s *stage) certificate(owner string, digit rune) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := mark{owner, digit}
	if s.pems[m] == nil {
		ca := playground.NewCA(fmt.Sprintf("%s %c", owner, digit))
		s.pems[m], s.digits[string(ca)] = ca, m
	}
	return s.pems[m]
}

// digit returns what a certificate is called for a cell.
func (s *stage) digit(certificate string, c *cell) rune {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.digits[certificate]
	if !ok || m.owner != c.group.name && (m.owner != otherSource || c.group.fresh()) {
		return foreign
	}
	return m.digit
}

// eventually returns once condition does nil; its last error when patience ends.
func (s *stage) eventually(ctx context.Context, condition func(context.Context) error) error {
	return eventually(ctx, patience, condition)
}

func eventually(ctx context.Context, patience time.Duration, condition func(context.Context) error) error {
	if err := playground.Eventually(ctx, patience, 50*time.Millisecond, condition); err != nil {
		return fmt.Errorf("after %s: %w", patience, err)
	}
	return nil
}

func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
