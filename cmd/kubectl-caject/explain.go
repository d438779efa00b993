package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/tools/clientcmd"
)

// explain says in one line what has gone wrong, and the way out where one is known.
func explain(ctx context.Context, err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	switch {
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return "interrupted"
	case clientcmd.IsEmptyConfig(err):
		return "no cluster is configured: name one with --kubeconfig, or KUBECONFIG"
	case apierrors.IsUnauthorized(err):
		return "the cluster does not know you: your token or certificate has expired, or is that of another cluster (" + text + ")"
	case apierrors.IsForbidden(err):
		return "you have not the rights for this: " + text
	case utilnet.IsConnectionRefused(err), utilnet.IsTimeout(err), utilnet.IsConnectionReset(err), strings.Contains(text, "no such host"):
		return fmt.Sprintf("the API server cannot be reached: %s", text)
	}
	return text
}
