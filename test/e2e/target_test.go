package e2e

import (
	"strings"
	"testing"
	"time"

	"gomodules.xyz/jsonpatch/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/test/playground"
)

// newTargetClient returns what resync works with, under the chart's ServiceAccount.
func newTargetClient(t *testing.T) *cluster.Targets {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", shared.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.NewTargets(config, httpClient)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAWriteIsGuardedByWhatWasRead(t *testing.T) {
	t.Parallel()
	c := newTargetClient(t)
	eachKind(t, "guard", func(t *testing.T, kind cabundle.Kind, name string) {
		object := kinds[kind](name, nil)
		shared.create(t, object)
		named := cabundle.Target{Kind: kind, Name: object.GetName()}
		read, err := c.Get(t.Context(), named, cluster.Consistent)
		if err != nil {
			t.Fatal(err)
		}
		if kind.Admitted() {
			read.ResourceVersion = "1" // its status may change all the time
		} else {
			object.SetLabels(map[string]string{"somebody": "else"})
			if err := shared.client.Update(t.Context(), object); err != nil {
				t.Fatal(err)
			}
		}
		patch, _, problem := cabundle.Inject(time.Now(), read, nil, cabundle.ParseExisting(playground.NewCA(name)), cabundle.Merge)
		if problem != nil {
			t.Fatal(problem)
		}
		if _, err := c.Patch(t.Context(), read, patch); !apierrors.IsConflict(err) {
			t.Errorf("a write of what was read before somebody else wrote: %v", err)
		}
		if err := shared.client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			t.Fatal(err)
		}
		if err := playground.Holds(object, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestErrorsHaveTheWordsOfTheAPIServer(t *testing.T) {
	t.Parallel()
	c := newTargetClient(t)
	missing := cabundle.Target{Kind: cabundle.APIService, Name: "v1.missing.example.com"}
	for _, freshness := range []cluster.Freshness{cluster.Cached, cluster.Consistent} {
		if _, err := c.Get(t.Context(), missing, freshness); !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), missing.Name) {
			t.Errorf("error is %v", err)
		}
	}
	service := playground.NewAPIService("words", nil)
	shared.create(t, service)
	named := cabundle.Target{Kind: cabundle.APIService, Name: service.Name}
	for {
		read, err := c.Get(t.Context(), named, cluster.Consistent)
		if err != nil {
			t.Fatal(err)
		}
		patch := []jsonpatch.Operation{
			jsonpatch.NewOperation("add", "/spec/insecureSkipTLSVerify", true),
			jsonpatch.NewOperation("add", "/spec/caBundle", "AAAA"),
		}
		if _, err = c.Patch(t.Context(), read, patch); apierrors.IsConflict(err) {
			continue // its status has just changed
		}
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "insecureSkipTLSVerify") {
			t.Errorf("error is %v", err)
		}
		return
	}
}
