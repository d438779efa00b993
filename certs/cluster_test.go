package certs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
)

// world is an API server that has one Secret, and our webhook configuration, which resync fills from the Secret at once.
type world struct {
	mu       sync.Mutex
	secret   *corev1.Secret // nil if there is none
	version  int
	caBundle []caBundle // as it was at each time
	// keeps has resync not obey caject.io/distrust.
	keeps  bool
	events []string
	// changed are called when the configuration has changed.
	changed []func()
}

type caBundle struct {
	since time.Time
	held  cabundle.Bundle
}

var secretName = types.NamespacedName{Namespace: "ns", Name: "ca"}

// put stores secret, and fills the configuration.
func (c *world) put(secret *corev1.Secret) {
	c.version++
	c.secret = secret.DeepCopy()
	c.secret.ResourceVersion = fmt.Sprint(c.version)
	held := cabundle.Bundle{}
	if len(c.caBundle) > 0 {
		held = c.caBundle[len(c.caBundle)-1].held
	}
	held = cabundle.Merge(time.Now(), held, cabundle.ParseExisting(secret.Data[trustedKey]))
	if !c.keeps {
		held = parseRenewal(secret.Annotations).without(held)
	}
	c.caBundle = append(c.caBundle, caBundle{time.Now(), held})
	for _, changed := range c.changed {
		changed()
	}
}

// edit changes the Secret as people do. It may make it anew.
func (c *world) edit(change func(*corev1.Secret)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	secret := &corev1.Secret{}
	if c.secret != nil {
		secret = c.secret.DeepCopy()
	}
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	change(secret)
	c.put(secret)
}

func (c *world) deleteSecret() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secret = nil
}

// held is the Secret now.
func (c *world) held() *corev1.Secret {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.secret.DeepCopy()
}

// signs returns the CA that signs.
func (c *world) signs(t *testing.T) *authority {
	t.Helper()
	found := parseContent(time.Now(), c.held())
	if found.wrong != nil {
		t.Fatal(found.wrong)
	}
	return found.authority
}

// trustedAt returns what API servers have in the configuration that learn of a change late by lag.
func (c *world) trustedAt(lag time.Duration) (held cabundle.Bundle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.caBundle {
		if !b.since.After(time.Now().Add(-lag)) {
			held = b.held
		}
	}
	return held
}

// said returns how many Events have reason.
func (c *world) said(reason string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, event := range c.events {
		if event == reason {
			n++
		}
	}
	return n
}

// member is a replica: a Keeper with its own clock and its own connection.
type member struct {
	*Keeper
	record.EventRecorder
	cluster *world
	skew    atomic.Int64 // by how much its clock is ahead
	blind   atomic.Bool  // it cannot read the configuration
	answers http.RoundTripper
}

// join makes a replica whose clock is ahead by skew.
func (c *world) join(skew time.Duration) *member {
	m := &member{cluster: c}
	m.skew.Store(int64(skew))
	server := NewServerClock(m)
	m.answers = server.Wrap(answering{})
	m.Keeper = NewKeeper(Options{
		Secret: secretName, Configurations: []cabundle.Target{own}, Names: []string{"caject.ns.svc"},
		CALifetime: 30 * 24 * time.Hour, LeafLifetime: 7 * 24 * time.Hour, TrustDelay: time.Minute, Clock: server,
	}, nil, configurationOf{m}, m)
	m.store = &store{client: m, name: secretName, events: m, clock: server}
	return m
}

// run has m look as it does in a process, until stop is called.
func (m *member) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- m.Start(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// request has an answer of the API server arrive, with its Date.
func (m *member) request() {
	request, _ := http.NewRequest(http.MethodGet, "https://localhost", nil)
	_, _ = m.answers.RoundTrip(request)
}

type answering struct{}

func (answering) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{Header: http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}}}, nil
}

// A member is its own clock.
func (m *member) Now() time.Time                         { return time.Now().Add(time.Duration(m.skew.Load())) }
func (m *member) Since(t time.Time) time.Duration        { return m.Now().Sub(t) }
func (m *member) After(d time.Duration) <-chan time.Time { return time.After(d) }
func (m *member) NewTimer(d time.Duration) clock.Timer   { return clock.RealClock{}.NewTimer(d) }
func (m *member) Sleep(d time.Duration)                  { time.Sleep(d) }
func (m *member) Tick(d time.Duration) <-chan time.Time  { return time.Tick(d) }
func (m *member) NewTicker(d time.Duration) clock.Ticker { return clock.RealClock{}.NewTicker(d) }
func (m *member) Event(_ runtime.Object, _, reason, _ string) {
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	m.cluster.events = append(m.cluster.events, reason)
}

var gone = apierrors.NewNotFound(corev1.Resource("secrets"), secretName.Name)

// Get implements [secrets].
func (m *member) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	m.request()
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	if m.cluster.secret == nil {
		return gone
	}
	m.cluster.secret.DeepCopyInto(into.(*corev1.Secret))
	return nil
}

// Update implements [secrets].
func (m *member) Update(_ context.Context, object client.Object, _ ...client.UpdateOption) error {
	m.request()
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	switch {
	case m.cluster.secret == nil:
		return gone
	case m.cluster.secret.ResourceVersion != object.GetResourceVersion():
		return apierrors.NewConflict(corev1.Resource("secrets"), secretName.Name, nil)
	}
	m.cluster.put(object.(*corev1.Secret))
	return nil
}

// Apply implements [secrets]: what is applied is a Secret without data.
func (m *member) Apply(_ context.Context, object runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
	m.request()
	encoded, err := json.Marshal(object)
	if err != nil {
		return err
	}
	secret := &corev1.Secret{}
	if err := json.Unmarshal(encoded, secret); err != nil {
		return err
	}
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	if m.cluster.secret == nil {
		m.cluster.put(secret)
	}
	return nil
}

// Create implements [secrets]: all that it allows is to ask who m is.
func (m *member) Create(_ context.Context, object client.Object, _ ...client.CreateOption) error {
	review, ok := object.(*authenticationv1.SelfSubjectReview)
	if !ok {
		return errors.New("not allowed")
	}
	review.Status.UserInfo = authenticationv1.UserInfo{Username: "system:serviceaccount:" + secretName.Namespace + ":" + account.Name, UID: string(account.UID)}
	return nil
}

// account is who all members are.
var account = metav1.OwnerReference{APIVersion: "v1", Kind: "ServiceAccount", Name: "caject", UID: "7"}

// configurationOf is our configuration as a member reads it.
type configurationOf struct{ *member }

func (c configurationOf) Get(context.Context, cabundle.Target, cluster.Freshness) (cabundle.Object, error) {
	c.request()
	if c.blind.Load() {
		return cabundle.Object{}, errors.New("no answer")
	}
	return cabundle.Object{Target: own, Fields: []cabundle.Field{{Webhook: "w", CABundle: c.cluster.trustedAt(0).PEM()}}}, nil
}

// looks has each of them look, twice.
func looks(t *testing.T, all ...*member) {
	t.Helper()
	for range 2 {
		for _, m := range all {
			m.look(t.Context())
		}
	}
}

// served returns an error unless an API server that learns of changes late by lag accepts what m serves.
func (m *member) served(lag time.Duration) error {
	leaf, err := m.GetCertificate(nil)
	if err != nil {
		return err
	}
	object := cabundle.Object{Fields: []cabundle.Field{{Webhook: "w", CABundle: m.cluster.trustedAt(lag).PEM()}}}
	trusted := &trust{configuration: own}
	trusted.add(own, object)
	return trusted.verify(time.Now(), leaf, []string{"caject.ns.svc"})
}

// bubble runs body in a synctest bubble at the usual time.
func bubble(t *testing.T, body func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now))
		body(t, &world{})
	})
}

// parsed is the CA in the Secret, for who holds the lock.
func (c *world) parsed(t *testing.T) *authority {
	t.Helper()
	found := parseContent(time.Now(), c.secret)
	if found.wrong != nil {
		t.Fatal(found.wrong)
	}
	return found.authority
}
