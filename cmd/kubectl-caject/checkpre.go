package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	utilversion "k8s.io/apimachinery/pkg/util/version"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/survey"
)

const (
	// oldest is the first version of Kubernetes that the chart is for.
	oldest = "1.30"
	// fillsAll is the first version in which the chart's policies fill all kinds.
	fillsAll = "1.37"
	// usualNamespace is where the documents install caject.
	usualNamespace = "caject"
	// cainjectorLease is the Lease of cert-manager's cainjector.
	cainjectorLease = "cert-manager-cainjector-leader-election"
	// clockTolerance is what the clocks may differ: a second is how exactly the API server says its time, and the way takes some.
	clockTolerance = time.Minute
)

// before examines a cluster in which caject is to be installed.
func (e *examination) before(ctx context.Context) (*report, error) {
	if e.namespace == "" {
		e.namespace = usualNamespace
	}
	info, err := e.api.Discovery().ServerVersion()
	if err != nil {
		return nil, err
	}
	served, servedErr := cluster.PolicyVersion(e.api.Discovery())
	return examine(ctx, []category{
		{"Kubernetes", func(ctx context.Context) []verdict {
			return []verdict{judgeVersion(info.GitVersion), judgePolicies(info.GitVersion, served, servedErr), e.clock(ctx)}
		}},
		{"Your rights", func(ctx context.Context) []verdict { return e.installerRights(ctx, served != "") }},
		{"Who injects", func(ctx context.Context) []verdict {
			return []verdict{e.release(ctx), e.cainjector(ctx), e.asking(ctx)}
		}},
	}), nil
}

// judgeVersion says whether caject is for that version.
func judgeVersion(is string) verdict {
	const check = "version"
	parsed, err := utilversion.ParseGeneric(is)
	switch {
	case err != nil:
		return unknown(check, "the API server calls itself %q", is)
	case parsed.LessThan(utilversion.MustParseGeneric(oldest)):
		return fail(check, "compatibility.md", "the API server is %s, and caject is for Kubernetes %s and later", is, oldest)
	}
	return ok(check, "the API server is %s", is)
}

// judgePolicies says what the cluster's policies are going to fill. served is the version of MutatingAdmissionPolicy; empty if there is none.
func judgePolicies(is, served string, err error) verdict {
	const check, page = "policies", "compatibility.md"
	parsed, parseErr := utilversion.ParseGeneric(is)
	switch {
	case err != nil:
		return unread(check, err)
	case served == "":
		return warn(check, page, "MutatingAdmissionPolicy is not served: a webhook configuration is filled milliseconds after it was stored, and nothing while caject is away")
	case parseErr == nil && parsed.LessThan(utilversion.MustParseGeneric(fillsAll)):
		return ok(check, "MutatingAdmissionPolicy %s is served: webhook configurations are filled at admission; CRDs and APIServices too, by the webhook", served)
	}
	return ok(check, "MutatingAdmissionPolicy %s is served: all kinds are filled at admission, while caject is away, too", served)
}

// clock compares this machine's clock with the API server's.
func (e *examination) clock(ctx context.Context) verdict {
	const check = "clock"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url("/version"), nil)
	if err != nil {
		return unread(check, err)
	}
	began := e.now()
	response, err := e.http.Do(request)
	if err != nil {
		return unread(check, err)
	}
	defer response.Body.Close()
	ended := e.now()
	at, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return unknown(check, "the API server's answers have no date")
	}
	return judgeClock(began.Add(ended.Sub(began) / 2).Sub(at))
}

func judgeClock(ahead time.Duration) verdict {
	const check = "clock"
	if ahead.Abs() <= clockTolerance {
		return ok(check, "yours and the API server's agree")
	}
	direction := "ahead of"
	if ahead < 0 {
		direction = "behind"
	}
	return warn(check, "troubleshooting.md#caject-is-not-ready",
		"yours is %s %s the API server's: a replica on a node whose clock is half an hour off makes no certificate", ahead.Abs().Round(time.Second), direction)
}

// release looks for another caject, by its CRD.
func (e *examination) release(ctx context.Context) verdict {
	crd, err := e.metadata.Resource(cabundle.CustomResourceDefinition.Resource()).Get(ctx, "cabundles.caject.io", metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return judgeRelease(false, nil, e.namespace)
	case err != nil:
		return unread("another caject", err)
	}
	return judgeRelease(true, crd.Annotations, e.namespace)
}

// judgeRelease says whose the CRD of CABundles is, if it is there; annotations are its own, and namespace is where caject is to be installed.
func judgeRelease(there bool, annotations map[string]string, namespace string) verdict {
	const check = "another caject"
	name, owner := annotations["meta.helm.sh/release-name"], annotations["meta.helm.sh/release-namespace"]
	switch {
	case !there:
		return ok(check, "there is none")
	case name == "":
		return warn(check, "troubleshooting.md#what-you-see", "the CRD cabundles.caject.io is there, and belongs to no release of Helm: helm install refuses it, unless crds.enabled is false")
	case owner == namespace:
		return ok(check, "it is in namespace %s already, as release %s: helm upgrade goes on from there", owner, name)
	}
	return fail(check, "troubleshooting.md#what-you-see",
		"release %s in namespace %s, and one serves all namespaces: upgrade that one, or uninstall it first", name, owner)
}

// cainjector looks for cert-manager's cainjector, by its Lease.
func (e *examination) cainjector(ctx context.Context) verdict {
	byName := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", cainjectorLease).String()}
	list, err := e.api.CoordinationV1().Leases(metav1.NamespaceAll).List(ctx, byName)
	if err == nil {
		return judgeCainjector(list.Items, e.now())
	}
	var leases []coordinationv1.Lease
	for _, namespace := range []string{metav1.NamespaceSystem, "cert-manager"} { // where cert-manager's chart has it
		lease, getErr := e.api.CoordinationV1().Leases(namespace).Get(ctx, cainjectorLease, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(getErr):
		case getErr != nil:
			return unread("cainjector", err)
		default:
			leases = append(leases, *lease)
		}
	}
	return judgeCainjector(leases, e.now())
}

// judgeCainjector says whether cert-manager's cainjector is at work; leases are those of its name.
func judgeCainjector(leases []coordinationv1.Lease, now time.Time) verdict {
	const check = "cainjector"
	for i := range leases {
		if holder, fresh := held(&leases[i], now); fresh {
			v := ok(check, "cert-manager's cainjector is at work (%s, Lease %s/%s): both may run side by side, until you switch it off",
				holder, leases[i].Namespace, leases[i].Name)
			v.Link = docs + "migration.md#install-caject-beside-it-then-switch-it-off"
			return v
		}
	}
	return ok(check, "cert-manager's cainjector is not at work")
}

// held returns who holds a Lease, and whether that is so now.
func held(lease *coordinationv1.Lease, now time.Time) (holder string, fresh bool) {
	spec := lease.Spec
	if spec.HolderIdentity == nil || *spec.HolderIdentity == "" || spec.RenewTime == nil || spec.LeaseDurationSeconds == nil {
		return "", false
	}
	return *spec.HolderIdentity, now.Sub(spec.RenewTime.Time) <= time.Duration(*spec.LeaseDurationSeconds)*time.Second
}

// asking counts the objects that ask for injection.
func (e *examination) asking(ctx context.Context) verdict {
	found, err := e.reader.Read(ctx, survey.Selection{})
	if err != nil {
		return unread("annotated objects", err)
	}
	return judgeAsking(found)
}

func judgeAsking(found *survey.Survey) verdict {
	const check = "annotated objects"
	wrong := 0
	for i := range found.Targets {
		if !found.Targets[i].State.Right() {
			wrong++
		}
	}
	gaps := ""
	if len(found.Gaps) > 0 {
		gaps = fmt.Sprintf(" (%s)", strings.Join(found.Gaps, "; "))
	}
	switch {
	case wrong > 0:
		return warn(check, "troubleshooting.md#where-to-look", "%d of %d are not right: kubectl caject status says which, and why%s", wrong, len(found.Targets), gaps)
	case len(found.Targets) == 0 && gaps != "":
		return unknown(check, "%s", strings.Join(found.Gaps, "; "))
	case len(found.Targets) == 0:
		return ok(check, "none asks for injection")
	}
	return ok(check, "%d of %d are right%s", len(found.Targets), len(found.Targets), gaps)
}

// url returns that of a path of the API server.
func (e *examination) url(path string) string {
	return strings.TrimSuffix(e.api.Discovery().RESTClient().Get().AbsPath("/").URL().String(), "/") + path
}
