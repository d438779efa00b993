package quiet

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/caject/caject/test/playground"
)

// publications are about people who write what only caject should.
var publications = []scenario{
	{name: "the cluster's admin tampers with a publication", slug: "tampered", play: tampered},
}

func tampered(ctx context.Context, a *act) error {
	first, second := a.ca("1"), a.ca("2")
	name := "secret." + a.key().Namespace + "." + a.key().Name
	intruder := base64.StdEncoding.EncodeToString(playground.NewCA("intruder"))
	return steps(
		func() error { return a.begin(ctx, first) },
		func() error { return a.rotate(ctx, second) },
		func() error { return a.hold(ctx, must(first, second)) },
		func() error { return a.publish(ctx, must(first, second)) },
		func() error {
			return errors.Join(
				a.stage.refused(ctx, "", "patch", "cabundle", name, "--type=merge", "-p", `{"metadata":{"annotations":{"x":"y"}}}`),
				a.stage.refused(ctx, "", "patch", "cabundle", name, "--type=merge", "-p", `{"metadata":{"labels":null}}`),
				a.stage.refused(ctx, "", "patch", "cabundle", name, "--subresource=status", "--type=merge", "-p", `{"status":{"caBundle":"`+intruder+`"}}`),
				a.stage.refused(ctx, `{"apiVersion":"caject.io/v1alpha1","kind":"CABundle","metadata":{"name":"secret.trial.implanted",
					"labels":{"caject.io/not-ready":"true"}},"spec":{"source":"secret/trial/implanted"}}`, "create", "-f", "-"),
			)
		},
		func() error { return a.deleted(ctx) },
		func() error { return a.publish(ctx, must(first, second)) },
		func() error { return a.resetAndHold(ctx, must(first, second)) },
	)
}

// refused has the admin try a command of kubectl's; nothing is stored, whatever becomes of it. An admission policy is to refuse
// it.
func (s *stage) refused(ctx context.Context, input string, args ...string) error {
	what := "kubectl " + strings.Join(args[:2], " ")
	_, err := s.world.Control.Kubectl(ctx, input, append(args, "--dry-run=server")...)
	switch {
	case err == nil:
		return fmt.Errorf("%s: it is accepted", what)
	case !strings.Contains(err.Error(), "ValidatingAdmissionPolicy"):
		return fmt.Errorf("%s: it is not a policy that refuses it: %w", what, err)
	}
	return nil
}

// deleted has the admin delete the CABundle, and waits until there is another one.
func (a *act) deleted(ctx context.Context) error {
	object, err := a.cabundle(ctx)
	if err != nil {
		return err
	}
	before := object.UID
	if _, err := a.stage.world.Control.Kubectl(ctx, "", "delete", "cabundle", object.Name); err != nil {
		return err
	}
	return eventually(ctx, func(ctx context.Context) error {
		var now types.UID
		object, err := a.cabundle(ctx)
		if err == nil {
			now = object.UID
		}
		if now == "" || now == before {
			return fmt.Errorf("the CABundle has not been made again (%v)", err)
		}
		return nil
	})
}
