package survey

import (
	"context"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// InstallationLabel is on all objects of the chart, whatever their names; its value is what they begin with.
const InstallationLabel = "caject.io/installation"

// Grant is one role that is bound to caject's ServiceAccount.
type Grant struct {
	// Role is clusterrole/NAME or role/NAMESPACE/NAME.
	Role string
	// Namespace is where it counts; empty for everywhere.
	Namespace string
	// Own is true if that is the namespace of the ServiceAccount.
	Own   bool
	Rules []rbacv1.PolicyRule
}

// addRoles has roles and their bindings known.
func addRoles(scheme *runtime.Scheme, mapper *meta.DefaultRESTMapper) error {
	for _, kind := range []string{"Role", "RoleBinding"} {
		mapper.Add(rbacv1.SchemeGroupVersion.WithKind(kind), meta.RESTScopeNamespace)
		mapper.Add(rbacv1.SchemeGroupVersion.WithKind("Cluster"+kind), meta.RESTScopeRoot)
	}
	return rbacv1.AddToScheme(scheme)
}

// binding is a ClusterRoleBinding or a RoleBinding.
type binding struct {
	namespace string // empty for a ClusterRoleBinding
	labels    map[string]string
	subjects  []rbacv1.Subject
	role      rbacv1.RoleRef
}

// Grants returns what is allowed to caject's ServiceAccounts, which are known by the label of the chart's bindings. There are none
// if caject is not installed.
func (r *Reader) Grants(ctx context.Context) (grants []Grant, gaps []string, err error) {
	bindings, err := r.bindings(ctx)
	if err == nil {
		grants, err = r.grantsTo(ctx, accountsOf(bindings), bindings)
	}
	if apierrors.IsForbidden(err) {
		return nil, []string{"you may not read roles and their bindings in all namespaces: whether caject's rights are too wide is not known"}, nil
	}
	return grants, nil, err
}

func (r *Reader) bindings(ctx context.Context) ([]binding, error) {
	var everywhere rbacv1.ClusterRoleBindingList
	if err := r.objects.List(ctx, &everywhere); err != nil {
		return nil, err
	}
	var namespaced rbacv1.RoleBindingList
	if err := r.objects.List(ctx, &namespaced); err != nil {
		return nil, err
	}
	var all []binding
	for _, b := range everywhere.Items {
		all = append(all, binding{"", b.Labels, b.Subjects, b.RoleRef})
	}
	for _, b := range namespaced.Items {
		all = append(all, binding{b.Namespace, b.Labels, b.Subjects, b.RoleRef})
	}
	return all, nil
}

// accountsOf returns the ServiceAccounts that the chart's bindings name, each in its own namespace.
func accountsOf(bindings []binding) []client.ObjectKey {
	var accounts []client.ObjectKey
	for _, b := range bindings {
		for _, subject := range b.subjects {
			account := client.ObjectKey{Namespace: subject.Namespace, Name: subject.Name}
			_, chart := b.labels[InstallationLabel]
			own := b.namespace == subject.Namespace // that of Prometheus, say, is in another
			if chart && own && subject.Kind == rbacv1.ServiceAccountKind && !slices.Contains(accounts, account) {
				accounts = append(accounts, account)
			}
		}
	}
	return accounts
}

// grantsTo reads the roles that are bound to accounts, themselves or through a group of ServiceAccounts.
func (r *Reader) grantsTo(ctx context.Context, accounts []client.ObjectKey, bindings []binding) ([]Grant, error) {
	var grants []Grant
	for _, b := range bindings {
		at := slices.IndexFunc(accounts, func(account client.ObjectKey) bool {
			return slices.ContainsFunc(b.subjects, func(subject rbacv1.Subject) bool { return means(subject, account) })
		})
		if at < 0 {
			continue
		}
		role, rules, err := r.rulesOf(ctx, b)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		grants = append(grants, Grant{Role: role, Namespace: b.namespace, Own: b.namespace == accounts[at].Namespace, Rules: rules})
	}
	return grants, nil
}

// means reports whether subject is account, or a group that it is in.
func means(subject rbacv1.Subject, account client.ObjectKey) bool {
	switch subject.Kind {
	case rbacv1.ServiceAccountKind:
		return subject.Namespace == account.Namespace && subject.Name == account.Name
	case rbacv1.GroupKind:
		return subject.Name == "system:authenticated" || subject.Name == "system:serviceaccounts" || subject.Name == "system:serviceaccounts:"+account.Namespace
	}
	return subject.Kind == rbacv1.UserKind && subject.Name == "system:serviceaccount:"+account.Namespace+":"+account.Name
}

func (r *Reader) rulesOf(ctx context.Context, b binding) (role string, rules []rbacv1.PolicyRule, err error) {
	if b.role.Kind == "ClusterRole" {
		var found rbacv1.ClusterRole
		err := r.objects.Get(ctx, client.ObjectKey{Name: b.role.Name}, &found)
		return "clusterrole/" + b.role.Name, found.Rules, err
	}
	var found rbacv1.Role
	err = r.objects.Get(ctx, client.ObjectKey{Namespace: b.namespace, Name: b.role.Name}, &found)
	return "role/" + b.namespace + "/" + b.role.Name, found.Rules, err
}
