package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/caject/caject/cabundle"
)

// parallelReviews is how many access reviews are asked for at the same time.
const parallelReviews = 8

// right is one that somebody may have.
type right struct {
	verb, group, resource, subresource string
	namespace, name                    string // empty: in all of them
}

func (r right) String() string {
	text := r.verb + " " + r.resource
	if r.group != "" {
		text += "." + r.group
	}
	if r.subresource != "" {
		text += "/" + r.subresource
	}
	if r.name != "" {
		text += " " + r.name
	}
	if r.namespace != "" {
		text += " in " + r.namespace
	}
	return text
}

func (r right) attributes() *authorizationv1.ResourceAttributes {
	return &authorizationv1.ResourceAttributes{
		Verb: r.verb, Group: r.group, Resource: r.resource, Subresource: r.subresource, Namespace: r.namespace, Name: r.name,
	}
}

// on returns the rights to verbs, separated by commas, on resources of a group, in a namespace or none.
func on(verbs, group, namespace string, resources ...string) []right {
	var all []right
	for _, resource := range resources {
		resource, subresource, _ := strings.Cut(resource, "/")
		for verb := range strings.SplitSeq(verbs, ",") {
			all = append(all, right{verb: verb, group: group, resource: resource, subresource: subresource, namespace: namespace})
		}
	}
	return all
}

// named narrows rights to an object's name.
func named(name string, rights []right) []right {
	for i := range rights {
		rights[i].name = name
	}
	return rights
}

// toInstall returns the rights that helm needs for the chart's objects in a namespace, and for its own records.
func toInstall(namespace string, policies bool) []right {
	const verbs, admission, rbac = "get,create,patch", "admissionregistration.k8s.io", "rbac.authorization.k8s.io"
	cluster := []string{"mutatingwebhookconfigurations", "validatingwebhookconfigurations", "validatingadmissionpolicies", "validatingadmissionpolicybindings"}
	if policies {
		cluster = append(cluster, "mutatingadmissionpolicies", "mutatingadmissionpolicybindings")
	}
	return slices.Concat(
		on(verbs, "apiextensions.k8s.io", "", "customresourcedefinitions"),
		on(verbs, admission, "", cluster...),
		on(verbs, rbac, "", "clusterroles", "clusterrolebindings"),
		on(verbs, "flowcontrol.apiserver.k8s.io", "", "flowschemas"),
		on(verbs, rbac, metav1.NamespaceDefault, "roles", "rolebindings"),
		on(verbs, rbac, namespace, "roles", "rolebindings"),
		on(verbs, "apps", namespace, "deployments"),
		on(verbs, "policy", namespace, "poddisruptionbudgets"),
		on(verbs, "", namespace, "serviceaccounts", "services"),
		on(verbs+",list,update", "", namespace, "secrets"),
		// What a policy reads its author must be allowed to read: whoever creates one to get such objects, and a binding to list those that it selects.
		on("get", "", "", "podtemplates"), on("list", "", namespace, "podtemplates"),
	)
}

// installerRights says whether the caller may install the chart.
func (e *examination) installerRights(ctx context.Context, policies bool) []verdict {
	const objects, roles = "the chart's objects", "the chart's roles"
	may := e.mine
	lacking, err := lacks(ctx, may, toInstall(e.namespace, policies))
	if err != nil {
		return []verdict{unread(objects, err), unread(roles, err)}
	}
	const rbac = "rbac.authorization.k8s.io"
	beyond, err := lacks(ctx, may, slices.Concat(on("escalate,bind", rbac, "", "clusterroles"), on("escalate,bind", rbac, e.namespace, "roles")))
	if err != nil {
		return []verdict{judgeInstaller(lacking), unread(roles, err)}
	}
	var held []right
	if len(beyond) > 0 { // then one gives only what one has
		if held, err = lacks(ctx, may, defaults(e.namespace).needs()); err != nil {
			return []verdict{judgeInstaller(lacking), unread(roles, err)}
		}
	}
	return []verdict{judgeInstaller(lacking), judgeEscalation(beyond, held)}
}

func judgeInstaller(lacking []right) verdict {
	const check = "the chart's objects"
	if len(lacking) > 0 {
		return fail(check, "install.md#before", "you may not %s", some(texts(lacking)))
	}
	return ok(check, "you may create all of them")
}

// judgeEscalation says whether the caller may give caject its rights: those who may not escalate and bind give only what they have themselves.
func judgeEscalation(beyond, lacking []right) verdict {
	const check = "the chart's roles"
	switch {
	case len(beyond) == 0:
		return ok(check, "you may give caject its rights")
	case len(lacking) == 0:
		return ok(check, "you have all rights that you give to caject")
	}
	return fail(check, "install.md#before", "you give caject rights that you do not have, nor may you %s: %s", beyond[0], some(texts(lacking)))
}

func texts(rights []right) []string {
	all := make([]string, len(rights))
	for i, r := range rights {
		all[i] = r.String()
	}
	return all
}

// lacks returns those of rights that may denies, in their order.
func lacks(ctx context.Context, may func(context.Context, right) (bool, error), rights []right) ([]right, error) {
	allowed := make([]bool, len(rights))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReviews)
	for i, r := range rights {
		group.Go(func() (err error) {
			allowed[i], err = may(ctx, r)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var lacking []right
	for i, r := range rights {
		if !allowed[i] {
			lacking = append(lacking, r)
		}
	}
	return lacking, nil
}

// mine asks whether the caller has a right. Whoever is authenticated may ask.
func (e *examination) mine(ctx context.Context, r right) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: r.attributes()}}
	review, err := e.api.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// of asks whether a ServiceAccount has a right.
func (e *examination) of(namespace, account string) func(context.Context, right) (bool, error) {
	const all = "system:serviceaccounts"
	return func(ctx context.Context, r right) (bool, error) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			ResourceAttributes: r.attributes(),
			User:               fmt.Sprintf("system:serviceaccount:%s:%s", namespace, account),
			Groups:             []string{all, all + ":" + namespace, "system:authenticated"},
		}}
		review, err := e.api.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return false, err
		}
		return review.Status.Allowed, nil
	}
}

// needs returns the rights that caject needs, as it was started.
func (i *installation) needs() []right {
	const all = "get,list,watch,patch"
	var needed []right
	for _, kind := range cabundle.Kinds() {
		if i.injects(kind) {
			needed = append(needed, on(all, kind.Resource().Group, "", kind.Resource().Resource)...)
		}
	}
	needed = append(needed, i.sources()...)
	if namespace, name, ok := strings.Cut(i.flag("ca-secret"), "/"); ok {
		needed = append(needed, named(name, on("get,update,patch,create", "", namespace, "secrets"))...)
	}
	if namespace := i.flag("leader-election-namespace"); namespace != "" {
		needed = append(needed, on("create", "coordination.k8s.io", namespace, "leases")...)
		needed = append(needed, named(i.flag("webhook-configuration"), on("get,update,delete", "coordination.k8s.io", namespace, "leases"))...)
	}
	if namespace, _, ok := strings.Cut(i.flag("publish-to"), "/"); ok {
		needed = append(needed, slices.Concat(
			on("get,list,watch,create,update,delete", "", namespace, "podtemplates"),
			on("get,list,watch,create,delete", "caject.io", "", "cabundles"), on("update", "caject.io", "", "cabundles/status"),
			named(metav1.NamespaceSystem, on("get", "", metav1.NamespaceSystem, "namespaces")),
		)...)
	}
	needed = append(needed, on("create,patch", "", i.namespace(), "events")...)
	if i.flag("target-events") != "false" {
		needed = append(needed, on("create,patch", "", metav1.NamespaceDefault, "events")...)
	}
	return needed
}

// sources returns the rights to read those that it was told to.
func (i *installation) sources() []right {
	read := func(namespace string) []right {
		rights := on("get", "", namespace, "secrets")
		if i.flag("enable-certificates-data-source") != "false" {
			rights = append(rights, on("get", "cert-manager.io", namespace, "certificates")...)
		}
		return rights
	}
	var needed []right
	switch names, namespaces := i.flag("sources"), i.flag("namespace"); {
	case names != "":
		for source := range strings.SplitSeq(names, ",") {
			switch parts := strings.Split(source, "/"); {
			case parts[0] == string(cabundle.Secret) && len(parts) == 3:
				needed = append(needed, named(parts[2], on("get", "", parts[1], "secrets"))...)
			case parts[0] == string(cabundle.Certificate) && len(parts) == 3:
				needed = append(needed, named(parts[2], on("get", "cert-manager.io", parts[1], "certificates"))...)
			}
		}
	case namespaces != "":
		for namespace := range strings.SplitSeq(namespaces, ",") {
			needed = append(needed, read(namespace)...)
		}
	default:
		needed = read("")
	}
	return needed
}

// accountRights says whether caject's ServiceAccount has the rights that it needs, and none to list Secrets.
func (e *examination) accountRights(ctx context.Context, i *installation) []verdict {
	const needed, secrets = "what it needs", "Secrets"
	may := e.of(i.namespace(), i.account())
	lacking, err := lacks(ctx, may, i.needs())
	if err != nil {
		return []verdict{unread(needed, err), unread(secrets, err)}
	}
	listing := on("list,watch", "", "", "secrets")
	denied, err := lacks(ctx, may, listing)
	if err != nil {
		return []verdict{judgeNeeds(i, lacking), unread(secrets, err)}
	}
	return []verdict{judgeNeeds(i, lacking), judgeListing(i, len(denied) == len(listing))}
}

func judgeNeeds(i *installation, lacking []right) verdict {
	const check = "what it needs"
	if len(lacking) > 0 {
		return fail(check, "security.md#what-it-may-do", "ServiceAccount %s/%s may not %s", i.namespace(), i.account(), some(texts(lacking)))
	}
	return ok(check, "ServiceAccount %s/%s has it", i.namespace(), i.account())
}

func judgeListing(i *installation, none bool) verdict {
	const check = "Secrets"
	if !none {
		return fail(check, "security.md#what-it-may-do", "ServiceAccount %s/%s may list or watch all Secrets: the chart gives it no such right, another role does", i.namespace(), i.account())
	}
	return ok(check, "it may neither list nor watch them")
}
