package certs

import (
	"crypto/tls"
	"crypto/x509"
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

// inAll returns the CAs that each webhook trusts.
func (t *trust) inAll() []*x509.Certificate {
	if !t.exists() {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(t.webhooks[0].trusted.Certificates()), func(ca *x509.Certificate) bool {
		return slices.ContainsFunc(t.webhooks, func(w webhookTrust) bool { return !w.trusted.Holds(ca) })
	})
}

// inAny returns the CAs that some webhook trusts: somebody has put them there.
func (t *trust) inAny() cabundle.Bundle {
	var all []*x509.Certificate
	for _, webhook := range t.webhooks {
		all = append(all, webhook.trusted.Certificates()...)
	}
	return bundleOf(all...)
}

// exists reports whether the configuration that must be there is, with webhooks.
func (t *trust) exists() bool {
	return slices.ContainsFunc(t.webhooks, func(w webhookTrust) bool { return w.configuration == t.configuration })
}

// verify returns why the API server would not accept leaf under each of names at now, or nil if it would.
func (t *trust) verify(now time.Time, leaf *tls.Certificate, names []string) error {
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
