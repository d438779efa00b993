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
	roots         *x509.CertPool
}

// add reads the caBundles of one of our configurations.
func (t *trust) add(configuration cabundle.Target, object cabundle.Object) {
	for _, field := range object.Fields {
		roots := x509.NewCertPool()
		for _, certificate := range cabundle.ParseExisting(field.CABundle).Certificates() {
			roots.AddCert(certificate)
		}
		t.webhooks = append(t.webhooks, webhookTrust{configuration: configuration, name: field.Webhook, roots: roots})
	}
}

// verify returns why the API server would not accept leaf under each of names at now, or nil if it would.
func (t *trust) verify(now time.Time, leaf *tls.Certificate, names []string) error {
	if leaf == nil {
		return errors.New("there is no serving certificate yet")
	}
	if t == nil {
		return errors.New("the webhook configuration has not been read yet")
	}
	if !slices.ContainsFunc(t.webhooks, func(w webhookTrust) bool { return w.configuration == t.configuration }) {
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
