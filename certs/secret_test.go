package certs

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle"
)

// Who deletes the Secret may be uninstalling caject while replicas run: what they restore then goes with their ServiceAccount.
func TestARestoredSecretGoesWithTheServiceAccount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &world{}
		m := c.join(0)
		looks(t, m)
		signing := c.signs(t).certificate
		c.deleteSecret()
		looks(t, m)
		if !c.signs(t).certificate.Equal(signing) {
			t.Error("another CA was made")
		}
		secret := c.held()
		if diff := cmp.Diff([]metav1.OwnerReference{account}, secret.OwnerReferences); diff != "" {
			t.Error(diff)
		}
		if secret.Annotations[cabundle.AllowDirectInjectionAnnotation] != "true" {
			t.Errorf("the annotations are %v", secret.Annotations)
		}
	})
}
