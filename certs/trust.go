package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caject/caject/cabundle"
)

// trust is what the API server trusts when it calls us: the certificates in each webhook of our configurations.
type trust struct {
	configuration cabundle.Target // the one that must be there
	webhooks      []webhookTrust
}

type webhookTrust struct {
	configuration cabundle.Target
	name          string
	trusted       cabundle.Bundle
	roots         *x509.CertPool
}

// add reads the caBundles of one of our configurations.
func (t *trust) add(configuration cabundle.Target, object cabundle.Object) {
	for _, field := range object.Fields {
		trusted, roots := cabundle.ParseExisting(field.CABundle), x509.NewCertPool()
		for _, certificate := range trusted.Certificates() {
			roots.AddCert(certificate)
		}
		t.webhooks = append(t.webhooks, webhookTrust{configuration: configuration, name: field.Webhook, trusted: trusted, roots: roots})
	}
}

// holds reports that each webhook trusts ca.
func (t *trust) holds(ca *x509.Certificate) bool {
	return t.exists() && !slices.ContainsFunc(t.webhooks, func(w webhookTrust) bool { return !w.trusted.Holds(ca) })
}

// any reports that a webhook trusts some CA: somebody has put it there.
func (t *trust) any() bool {
	return t != nil && slices.ContainsFunc(t.webhooks, func(w webhookTrust) bool { return !w.trusted.Empty() })
}

// exists reports that the configuration that must be there is, with webhooks.
func (t *trust) exists() bool {
	return t != nil && slices.ContainsFunc(t.webhooks, func(w webhookTrust) bool { return w.configuration == t.configuration })
}

// verify returns why the API server would not accept leaf under each of names at now, or nil if it would.
func (t *trust) verify(now time.Time, leaf *tls.Certificate, names []string) error {
	if leaf == nil {
		return errors.New("there is no serving certificate yet")
	}
	if t == nil {
		return errors.New("the webhook configuration has not been read yet")
	}
	if !t.exists() {
		return fmt.Errorf("%s does not exist, or has no webhooks", t.configuration)
	}
	for _, webhook := range t.webhooks {
		for _, name := range names {
			_, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: webhook.roots, DNSName: name, CurrentTime: now})
			if err != nil {
				return fmt.Errorf("the caBundle of webhook %s in %s does not fit: %w", webhook.name, webhook.configuration, err)
			}
		}
	}
	return nil
}
