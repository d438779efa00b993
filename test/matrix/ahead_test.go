package matrix

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/test/playground"
	"github.com/caject/caject/test/trial"
)

const (
	// aheadOf is how long before its first target a Secret is written.
	aheadOf = 2 * time.Second
	// mostAhead is how many Secrets of a namespace are published ahead.
	mostAhead = 16
	// neutralOptIn is the annotation that allows direct injection, beside cert-manager's.
	neutralOptIn = "caject.io/allow-direct-injection"
)

// TestPublishedAhead has Secrets written before any target names them: the first webhook configuration that does is filled in its own
// create request. What is not named is read once, and what must not be injected is not published.
func TestPublishedAhead(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	world := newWorld(t, 2)
	a := &ahead{world: world}
	namespaces := []string{"ahead-a", "ahead-b", "ahead-many"}
	for _, name := range namespaces {
		if err := world.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	begin, err := world.Control.Mark()
	if err != nil {
		t.Fatal(err)
	}
	certManagers := a.secrets(t, "ahead-a", 10, cabundle.AllowDirectInjectionAnnotation, "true")
	neutrals := a.secrets(t, "ahead-b", 10, neutralOptIn, "true")
	a.secrets(t, trial.Namespace, 3, cabundle.CertificateNameAnnotation, "a-certificate")
	a.secrets(t, trial.Namespace, 3, "example.com/unrelated", "true")
	a.secrets(t, "ahead-many", mostAhead+8, cabundle.AllowDirectInjectionAnnotation, "true")
	pauseFor(ctx, aheadOf)

	t.Run("a Certificate's Secret and one without opt-in are not published", func(t *testing.T) { a.unpublished(t, trial.Namespace, 0) })
	t.Run("a namespace has only so many", func(t *testing.T) { a.unpublished(t, "ahead-many", mostAhead) })
	t.Run("the first target, with cert-manager's opt-in", func(t *testing.T) { a.first(t, certManagers[:8]) })
	t.Run("the first target, with the neutral opt-in", func(t *testing.T) { a.first(t, neutrals[:8]) })
	t.Run("the first target while caject is away", func(t *testing.T) {
		for _, replica := range world.Replicas.All() {
			if err := replica.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		a.first(t, append(certManagers[8:9:9], neutrals[8]))
		for _, replica := range world.Replicas.All() {
			if err := world.Restart(replica); err != nil {
				t.Fatal(err)
			}
		}
		wait, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := world.Replicas.WaitReady(wait); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("the first target after caject was started again", func(t *testing.T) { a.first(t, append(certManagers[9:10:10], neutrals[9])) })
	t.Run("what nobody names is read once per hint", func(t *testing.T) { a.reads(t, begin) })
}

// ahead is a world with Secrets that no target names.
type ahead struct{ world *trial.World }

// secrets creates n Secrets with an annotation, and returns them.
func (a *ahead) secrets(t *testing.T, namespace string, n int, annotation, value string) (all []*corev1.Secret) {
	t.Helper()
	for i := range n {
		name := fmt.Sprintf("%s-%d", strings.ReplaceAll(annotation[strings.LastIndex(annotation, "/")+1:], "_", "-"), i)
		secret := playground.NewSecret(namespace, name, playground.NewCA(namespace+" "+name))
		secret.Annotations = map[string]string{annotation: value}
		if err := a.world.Client.Create(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		all = append(all, secret)
	}
	return all
}

// first fails the test unless a webhook configuration that is the first to name a Secret is filled in the answer to its create.
func (a *ahead) first(t *testing.T, secrets []*corev1.Secret) {
	t.Helper()
	for n, secret := range secrets {
		annotations := playground.FromSecret(secret.Namespace, secret.Name)
		object := trial.Kinds[2+n%2](secret.Namespace+"-"+secret.Name, annotations)
		if err := a.world.Client.Create(t.Context(), object); err != nil {
			t.Error(err)
			continue
		}
		for _, bundle := range playground.CABundles(object) {
			if string(bundle) != string(secret.Data["ca.crt"]) {
				t.Errorf("%s %s holds %q in the answer to its create", kindNames[2+n%2], object.GetName(), bundle)
			}
		}
	}
}

// unpublished fails the test if more than most sources of a namespace are published.
func (a *ahead) unpublished(t *testing.T, namespace string, most int) {
	t.Helper()
	all, err := shardsOf(t.Context(), a.world.Client)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for i := range all {
		for source := range attributes(&all[i], 0) {
			if strings.Contains(source, "/"+namespace+"/") {
				found = append(found, source)
			}
		}
	}
	if len(found) > most {
		t.Errorf("%d sources are published: %v", len(found), found)
	}
}

// reads fails the test if a Secret that no target names was read more than once per replica since begin, which takes in a hint and a
// restart, or is read at all while nothing changes.
func (a *ahead) reads(t *testing.T, begin playground.Mark) {
	const once = 2 // a hint may come to both replicas: the API server sends it once more if a connection breaks
	quiet, err := a.world.Control.Mark()
	if err != nil {
		t.Fatal(err)
	}
	pauseFor(t.Context(), 3*interval)
	count := func(from, to playground.Mark) map[string]int {
		requests, err := a.world.Control.Requests(from, to)
		if err != nil {
			t.Fatal(err)
		}
		reads := map[string]int{}
		for _, r := range requests {
			if r.Resource == "secrets" && (r.Namespace == "ahead-many" || r.Namespace == trial.Namespace) {
				reads[r.Object()]++
			}
		}
		return reads
	}
	for secret, n := range count(begin, quiet) {
		if n > once {
			t.Errorf("%s was read %d times", secret, n)
		}
	}
	if reads := count(quiet, playground.Mark{}); len(reads) > 0 {
		t.Errorf("while nothing changed, these were read: %v", reads)
	}
	var secrets corev1.SecretList
	err = a.world.Client.List(t.Context(), &secrets, client.InNamespace("ahead-many"))
	if read := count(begin, quiet); err != nil || len(read) == 0 {
		t.Error(errors.Join(err, errors.New("no Secret was read: the audit log says nothing")))
	}
}
