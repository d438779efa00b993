package source

import (
	"context"
	"fmt"
	"runtime/debug"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/caject/caject/cabundle"
)

type reader interface {
	Read(context.Context, cabundle.Reference, Freshness) (cabundle.Bundle, *cabundle.Problem)
}

// ReadSafely is r.Read, but a panic in it becomes a Problem of reason InternalError, and is logged: whoever waits for
// the answer must not suffer from a bug of ours.
func ReadSafely(ctx context.Context, r reader, ref cabundle.Reference, freshness Freshness) (bundle cabundle.Bundle, problem *cabundle.Problem) {
	defer func() {
		if p := recover(); p != nil {
			log.FromContext(ctx).Error(fmt.Errorf("panic: %v", p), "Recovered in reading a source", "source", ref, "stack", string(debug.Stack()))
			bundle, problem = cabundle.Bundle{}, cabundle.Panicked(ref)
		}
	}()
	return r.Read(ctx, ref, freshness)
}
