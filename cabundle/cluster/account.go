package cluster

import (
	"context"
	"fmt"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// creator is what Account needs of a client.
type creator interface {
	Create(context.Context, client.Object, ...client.CreateOption) error
}

// Account returns the ServiceAccount that c works as, if it is one of namespace: the garbage collector removes with it what names it as its
// owner. It is nil if c works as somebody else, or if that may not be asked.
func Account(ctx context.Context, c creator, namespace string) (*metav1.OwnerReference, error) {
	review := &authenticationv1.SelfSubjectReview{}
	if err := c.Create(ctx, review); err != nil {
		if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("ask who we are: %w", err)
	}
	user := review.Status.UserInfo
	name, ok := strings.CutPrefix(user.Username, "system:serviceaccount:"+namespace+":")
	if !ok || user.UID == "" {
		return nil, nil
	}
	return &metav1.OwnerReference{APIVersion: "v1", Kind: "ServiceAccount", Name: name, UID: types.UID(user.UID)}, nil
}
