package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/caject/caject/cabundle"
)

// trust is what the API server trusts when it calls us: the certificates in each webhook of our configuration.
type trust struct {
	configuration cabundle.Target
	webhooks      []webhookTrust
}

type webhookTrust struct {
	name  string
	roots *x509.CertPool
}

// trustOf reads the caBundles of our configuration.
func trustOf(object cabundle.Object) *trust {
	t := &trust{configuration: object.Target}
	for _, field := range object.Fields {
		roots := x509.NewCertPool()
		for _, certificate := range cabundle.ParseExisting(field.CABundle).Certificates() {
			roots.AddCert(certificate)
		}
		t.webhooks = append(t.webhooks, webhookTrust{name: field.Webhook, roots: roots})
	}
	return t
}

// verify returns why the API server would not accept leaf under each of names at now, or nil if it would.
func (t *trust) verify(now time.Time, leaf *tls.Certificate, names []string) error {
	if leaf == nil {
		return errors.New("there is no serving certificate yet")
	}
	if t == nil {
		return errors.New("the webhook configuration has not been read yet")
	}
	if len(t.webhooks) == 0 {
		return fmt.Errorf("%s does not exist, or has no webhooks", t.configuration)
	}
	for _, webhook := range t.webhooks {
		for _, name := range names {
			_, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: webhook.roots, DNSName: name, CurrentTime: now})
			if err != nil {
				return fmt.Errorf("the caBundle of webhook %s in %s does not fit: %w", webhook.name, t.configuration, err)
			}
		}
	}
	return nil
}
