package field

import (
	"context"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

// filled fails the test unless each caBundle of object gets want.
func (f *field) filled(t *testing.T, object client.Object, want ...[]byte) {
	t.Helper()
	eventually(t, "fill "+object.GetName(), func(ctx context.Context) error {
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		return playground.Holds(object, want...)
	})
}

// "x509: certificate signed by unknown authority": the least that an injector is for.
func TestSignedByUnknownAuthority(t *testing.T) {
	eachWay(t, func(t *testing.T, f *field) {
		ca := playground.NewCA("least")
		f.census.Expect(trial.Namespace+"/least", ca)
		f.create(t, playground.NewSecret(trial.Namespace, "least", ca))
		object := playground.NewValidating("least", 2, playground.FromSecret(trial.Namespace, "least"))
		f.create(t, object)
		f.kubectl(t, "", "annotate", "validatingwebhookconfiguration", "least", "example.com/touched=yes")
		f.filled(t, object, ca)
	})
}
