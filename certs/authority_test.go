package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/keyutil"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cabundletest"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func newTestAuthority(t testing.TB, at time.Time) *authority {
	t.Helper()
	a, err := newAuthority(at, 24*time.Hour, cabundle.Bundle{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// parseAuthority returns the CA of a Secret, or why it holds none.
func parseAuthority(now time.Time, secret *corev1.Secret) (*authority, error) {
	found := parseContent(now, secret)
	return found.authority, found.wrong
}

func dataOf(t testing.TB, a *authority) map[string][]byte {
	t.Helper()
	return secretOf(t, a).Data
}

func secretOf(t testing.TB, a *authority) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{}
	if err := a.write(secret); err != nil {
		t.Fatal(err)
	}
	return secret
}

func TestAnAuthoritySurvivesItsSecret(t *testing.T) {
	a := newTestAuthority(t, now)
	got, err := parseAuthority(now, secretOf(t, a))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := got.leaf(now, []string{"a.b.svc"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := leaf.Leaf.CheckSignatureFrom(a.certificate); err != nil {
		t.Error("what was read signs differently:", err)
	}
	if diff := cmp.Diff(a.trusted.PEM(), got.trusted.PEM()); diff != "" {
		t.Error(diff)
	}
	if !got.signsSince.Equal(now) || got.next != nil {
		t.Errorf("it signs since %v, and %v is next", got.signsSince, got.next)
	}
}

func TestANextAuthoritySurvivesTheSecret(t *testing.T) {
	a := newTestAuthority(t, now)
	next, err := newPair(now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	a.next, a.trusted = next, cabundle.Merge(now, a.trusted, next.bundle())
	secret := secretOf(t, a)
	got, err := parseAuthority(now, secret)
	if err != nil || got.next == nil || !got.next.certificate.Equal(next.certificate) || !got.certificate.Equal(a.certificate) {
		t.Fatalf("it is %+v, %v", got, err)
	}
	for sentence, key := range map[string]string{"half of it": nextPrivateKeyKey, "it is not trusted": trustedKey} {
		half := secret.DeepCopy()
		half.Data[key] = dataOf(t, newTestAuthority(t, now))[trustedKey]
		if key == trustedKey {
			half.Data[key] = a.pair.bundle().PEM()
		}
		if got, err := parseAuthority(now, half); err != nil || got.next != nil {
			t.Errorf("%s: next is %v, %v", sentence, got.next, err)
		}
	}
	a.next = nil
	if err := a.write(secret); err != nil {
		t.Fatal(err)
	}
	if got, err := parseAuthority(now, secret); err != nil || got.next != nil {
		t.Errorf("it was removed, and is %v, %v", got.next, err)
	}
}

func TestAnAuthorityIsFitForCABundles(t *testing.T) {
	data := dataOf(t, newTestAuthority(t, now))
	if _, _, problem := cabundle.ParseSource(data[trustedKey]); problem != nil {
		t.Error("caject would refuse its own CA:", problem)
	}
}

func TestParseAuthorityRefusesWhatIsNotWhole(t *testing.T) {
	good, other := dataOf(t, newTestAuthority(t, now)), dataOf(t, newTestAuthority(t, now))
	leaf, err := newTestAuthority(t, now).leaf(now, []string{"a"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	leafKey, err := keyutil.MarshalPrivateKeyToPEM(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	with := func(key string, value []byte) map[string][]byte {
		data := maps.Clone(good)
		data[key] = value
		return data
	}
	tests := map[string]struct {
		data map[string][]byte
		want string
	}{
		"nothing":                  {nil, errNoAuthority.Error()},
		"only the trusted ones":    {map[string][]byte{trustedKey: good[trustedKey]}, errNoAuthority.Error()},
		"no key":                   {with(privateKeyKey, nil), "tls.crt and tls.key"},
		"no certificate":           {with(certificateKey, nil), "tls.crt and tls.key"},
		"the key of another":       {with(privateKeyKey, other[privateKeyKey]), "tls.crt and tls.key"},
		"junk":                     {with(certificateKey, []byte("junk")), "tls.crt and tls.key"},
		"half a key":               {with(privateKeyKey, good[privateKeyKey][:60]), "tls.crt and tls.key"},
		"a CA that is not trusted": {with(trustedKey, other[trustedKey]), "ca.crt does not hold tls.crt"},
		"nothing is trusted":       {with(trustedKey, nil), "ca.crt does not hold tls.crt"},
		"a certificate that is no CA": {map[string][]byte{
			trustedKey:     encodeCertificate(leaf.Certificate[0]),
			certificateKey: encodeCertificate(leaf.Certificate[0]),
			privateKeyKey:  leafKey,
		}, "is not a CA"},
		"an expired CA": {dataOf(t, newTestAuthority(t, now.Add(-25*time.Hour))), "expired on"},
		"a CA that was made by a clock that is ahead": {dataOf(t, newTestAuthority(t, now.Add(2*time.Hour))), "is not valid before"},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			_, err := parseAuthority(now, &corev1.Secret{Data: test.data})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, not …%s…", err, test.want)
			}
			if errors.Is(err, errNoAuthority) != (test.want == errNoAuthority.Error()) {
				t.Errorf("errNoAuthority: %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "BEGIN") {
				t.Errorf("the error shows PEM: %v", err)
			}
		})
	}
}

func TestALeafIsWhatAnAPIServerAccepts(t *testing.T) {
	a := newTestAuthority(t, now)
	leaf, err := a.leaf(now, []string{"caject.caject.svc", "10.0.0.1", "::1"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.certificate)
	for _, name := range []string{"caject.caject.svc", "10.0.0.1", "::1"} {
		for sentence, at := range map[string]time.Time{
			"now": now, "a clock that is behind": now.Add(-50 * time.Minute), "to the end": now.Add(time.Hour),
		} {
			if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: at}); err != nil {
				t.Errorf("%s, %s: %v", name, sentence, err)
			}
		}
	}
	if err := leaf.Leaf.VerifyHostname("other.caject.svc"); err == nil {
		t.Error("the leaf is good for another name")
	}
}

func TestALeafDoesNotOutliveItsCA(t *testing.T) {
	a := newTestAuthority(t, now)
	leaf, err := a.leaf(now.Add(20*time.Hour), []string{"a"}, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if !leaf.Leaf.NotAfter.Equal(a.certificate.NotAfter) {
		t.Errorf("leaf until %v, CA until %v", leaf.Leaf.NotAfter, a.certificate.NotAfter)
	}
}

func TestASuccessorTrustsItsPredecessor(t *testing.T) {
	first := newTestAuthority(t, now)
	second, err := newAuthority(now.Add(20*time.Hour), 24*time.Hour, first.trusted)
	if err != nil {
		t.Fatal(err)
	}
	want := append(first.trusted.PEM(), encodeCertificate(second.certificate.Raw)...)
	if diff := cmp.Diff(want, second.trusted.PEM()); diff != "" {
		t.Error(diff)
	}
	third, err := newAuthority(now.Add(30*time.Hour), 24*time.Hour, second.trusted)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(third.trusted.Certificates()); n != 2 {
		t.Errorf("%d CAs are trusted; the first has expired", n)
	}
}

func TestRenewalIsAtTwoThirds(t *testing.T) {
	leaf := func(at time.Time, lifetime time.Duration) *x509.Certificate {
		made, err := newTestAuthority(t, now).leaf(at, []string{"a"}, lifetime)
		if err != nil {
			t.Fatal(err)
		}
		return made.Leaf
	}
	for sentence, test := range map[string]struct {
		certificate *x509.Certificate
		want        time.Time
	}{
		"a CA":                          {newTestAuthority(t, now).certificate, now.Add(16 * time.Hour)},
		"a leaf":                        {leaf(now, time.Hour), now.Add(40 * time.Minute)},
		"a leaf that lasts for seconds": {leaf(now, 6*time.Second), now.Add(4 * time.Second)},
		"a leaf that was cut by its CA": {leaf(now.Add(21*time.Hour), 24*time.Hour), now.Add(23 * time.Hour)},
		"what others made for an hour":  {&x509.Certificate{NotBefore: now, NotAfter: now.Add(time.Hour)}, now.Add(40 * time.Minute)},
	} {
		if got := renewAt(test.certificate); !got.Equal(test.want) {
			t.Errorf("%s: renewal at %v, want %v", sentence, got, test.want)
		}
	}
}

func TestTrust(t *testing.T) {
	a, b := newTestAuthority(t, now), newTestAuthority(t, now)
	leaf, err := a.leaf(now, []string{"a.svc", "b.svc"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	own := cabundle.Target{Kind: cabundle.MutatingWebhookConfiguration, Name: "caject"}
	holding := func(caBundles ...[]byte) *trust {
		object := cabundle.Object{Target: own}
		for _, caBundle := range caBundles {
			object.Fields = append(object.Fields, cabundle.Field{Webhook: "w", CABundle: caBundle})
		}
		trusted := &trust{configuration: own}
		trusted.add(own, object)
		return trusted
	}
	good := a.trusted.PEM()
	names := []string{"a.svc", "b.svc"}
	tests := map[string]struct {
		trust *trust
		leaf  *tls.Certificate
		names []string
		at    time.Time
		want  string // part of the error; empty if it is trusted
	}{
		"the CA is there":              {holding(good), leaf, names, now, ""},
		"beside another":               {holding(append(b.trusted.PEM(), good...)), leaf, names, now, ""},
		"beside junk":                  {holding(append([]byte("junk\n"), good...)), leaf, names, now, ""},
		"in both webhooks":             {holding(good, good), leaf, names, now, ""},
		"in one of two webhooks":       {holding(good, nil), leaf, names, now, "does not fit"},
		"another CA":                   {holding(b.trusted.PEM()), leaf, names, now, "does not fit"},
		"an unrelated CA":              {holding(cabundletest.CA("x", now, now.Add(time.Hour))), leaf, names, now, "does not fit"},
		"a placeholder":                {holding([]byte("\n")), leaf, names, now, "does not fit"},
		"no webhook":                   {holding(), leaf, names, now, "does not exist, or has no webhooks"},
		"nothing was read":             {nil, leaf, names, now, "has not been read yet"},
		"no leaf":                      {holding(good), nil, names, now, "no serving certificate yet"},
		"a leaf that has expired":      {holding(good), leaf, names, now.Add(2 * time.Hour), "does not fit"},
		"a name that the leaf has not": {holding(good), leaf, []string{"a.svc", "c.svc"}, now, "does not fit"},
	}
	for sentence, test := range tests {
		t.Run(sentence, func(t *testing.T) {
			witness := &configurations{called: test.names}
			witness.seen.Store(test.trust)
			err := witness.verify(test.at, test.leaf)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want …%s…", err, test.want)
			}
		})
	}
}
