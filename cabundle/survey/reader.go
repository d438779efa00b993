package survey

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/v1alpha1"
)

// parallelReads is how many objects are read at the same time.
const parallelReads = 16

// Reader reads what a survey needs, each object once.
type Reader struct {
	targets *cluster.Targets
	sources *cluster.Sources
	objects client.Client
	now     func() time.Time
}

// NewReader returns a Reader for the API server of config, with the rights of its user.
func NewReader(config *rest.Config) (*Reader, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // parallelReads is what bounds it, and the API server's own fairness
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	targets, err := cluster.NewTargets(config, httpClient)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, discoveryv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	mapper := meta.NewDefaultRESTMapper(nil) // what is read is known, and needs no discovery
	for _, kind := range []string{"Secret", "ConfigMap", "Event", "Service"} {
		mapper.Add(corev1.SchemeGroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	mapper.Add(discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"), meta.RESTScopeNamespace)
	for _, kind := range cabundle.Kinds() {
		mapper.AddSpecific(kind.GroupVersionKind(), kind.Resource(), kind.Resource(), meta.RESTScopeRoot)
	}
	mapper.Add(cluster.CertificateKind, meta.RESTScopeNamespace)
	mapper.Add(v1alpha1.GroupVersion.WithKind("CABundle"), meta.RESTScopeRoot)
	objects, err := client.New(config, client.Options{HTTPClient: httpClient, Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, err
	}
	if err := addRoles(scheme, mapper); err != nil {
		return nil, err
	}
	r := &Reader{targets: targets, objects: objects, now: time.Now}
	r.sources = cluster.NewSources(objects, cabundle.Scope{}, func() ([]byte, error) { return r.apiServerCA(config) }).As("you")
	return r, nil
}

// apiServerCA returns the API server's CA in PEM: that which pods get, else that of config.
func (r *Reader) apiServerCA(config *rest.Config) ([]byte, error) {
	var root corev1.ConfigMap
	key := client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: "kube-root-ca.crt"}
	if err := r.objects.Get(context.Background(), key, &root); err == nil && root.Data["ca.crt"] != "" {
		return []byte(root.Data["ca.crt"]), nil
	}
	if err := rest.LoadTLSFiles(config); err != nil || len(config.CAData) == 0 {
		return nil, fmt.Errorf("neither ConfigMap %s nor the kubeconfig has it", key)
	}
	return config.CAData, nil
}

// Read reads the selected targets and their sources, and judges them. What the caller may not read becomes a gap; the error is about the
// API server as a whole.
func (r *Reader) Read(ctx context.Context, selection Selection) (*Survey, error) {
	survey := &Survey{Targets: []Finding{}}
	published, err := r.published(ctx, survey)
	if err != nil {
		return nil, err
	}
	survey.Published = published
	objects, absent, err := r.objectsOf(ctx, selection, survey)
	if err != nil {
		return nil, err
	}
	known := r.read(ctx, objects, published)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	survey.Targets = append(survey.Targets, absent...)
	now := r.now()
	for _, object := range objects {
		ref, _, _ := cabundle.ReferenceOf(object.Annotations)
		finding := Judge(now, object, known[ref])
		if selection.wants(&finding) {
			survey.Targets = append(survey.Targets, finding)
		}
	}
	slices.SortStableFunc(survey.Targets, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(slices.Index(cabundle.Kinds(), a.Kind), slices.Index(cabundle.Kinds(), b.Kind)), cmp.Compare(a.Name, b.Name))
	})
	return survey, nil
}

// published returns all CABundles by the source that they are about; nil if the caller may not read them.
func (r *Reader) published(ctx context.Context, survey *Survey) (map[string]*v1alpha1.CABundle, error) {
	all := map[string]*v1alpha1.CABundle{}
	var list v1alpha1.CABundleList
	switch err := r.objects.List(ctx, &list); {
	case apierrors.IsNotFound(err) || meta.IsNoMatchError(err): // caject is not there, or publishes nothing
	case apierrors.IsForbidden(err):
		survey.Gaps = append(survey.Gaps, "you may not list cabundles: what caject publishes does not count")
		return nil, nil
	case err != nil:
		return nil, err
	}
	for i := range list.Items {
		all[list.Items[i].Spec.Source] = &list.Items[i]
	}
	return all, nil
}

// objectsOf reads the selected targets; absent are those that were named and do not exist. The error is a Forbidden if the caller may read
// none of what was selected.
func (r *Reader) objectsOf(ctx context.Context, selection Selection, survey *Survey) (objects []cabundle.Object, absent []Finding, err error) {
	var denied error
	answers := 0
	// answered takes in an answer of the API server, and reports whether it is one about the cluster; gap says what is missing otherwise.
	answered := func(err error, gap string) (bool, error) {
		if apierrors.IsForbidden(err) {
			denied = err
			survey.Gaps = append(survey.Gaps, gap)
			return false, nil
		}
		answers++
		return err == nil, err
	}
	for _, kind := range selection.kinds() {
		listed, err := r.targets.List(ctx, kind)
		if _, err := answered(err, fmt.Sprintf("you may not list %s: those are missing here", kind.Resource().Resource)); err != nil {
			return nil, nil, err
		}
		objects = append(objects, listed...)
	}
	for _, target := range selection.Named {
		if slices.ContainsFunc(objects, func(o cabundle.Object) bool { return o.Target == target }) {
			continue
		}
		object, err := r.targets.Get(ctx, target, cluster.Consistent)
		if apierrors.IsNotFound(err) {
			answers++
			absent = append(absent, Finding{Kind: target.Kind, Name: target.Name, State: Absent, Message: "it does not exist"})
			continue
		}
		ok, err := answered(err, fmt.Sprintf("you may not read %s: it is missing here", target))
		if err != nil {
			return nil, nil, err
		}
		if ok {
			objects = append(objects, object)
		}
	}
	if answers == 0 && denied != nil {
		return nil, nil, denied
	}
	return objects, absent, nil
}

// read reads each source that objects name, once.
func (r *Reader) read(ctx context.Context, objects []cabundle.Object, published map[string]*v1alpha1.CABundle) map[cabundle.Reference]Known {
	named := sets.New[cabundle.Reference]()
	for _, object := range objects {
		if ref, annotated, problem := cabundle.ReferenceOf(object.Annotations); annotated && problem == nil {
			named.Insert(ref)
		}
	}
	refs := named.UnsortedList()
	readings := make([]cabundle.Reading, len(refs))
	var group errgroup.Group
	group.SetLimit(parallelReads)
	for i, ref := range refs {
		group.Go(func() error {
			readings[i] = r.sources.Read(ctx, ref, cluster.Consistent)
			return nil
		})
	}
	_ = group.Wait() // none of them fails: what went wrong is in the reading
	known := make(map[cabundle.Reference]Known, len(refs))
	for i, ref := range refs {
		known[ref] = Known{Reading: readings[i], Published: published[ref.String()], Unlisted: published == nil}
	}
	return known
}
