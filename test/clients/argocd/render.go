package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/argoproj/argo-cd/v3/common"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/reposerver/apiclient"
	"github.com/argoproj/argo-cd/v3/reposerver/repository"
	"github.com/argoproj/argo-cd/v3/util/argo"
	"github.com/argoproj/argo-cd/v3/util/git"
	"github.com/argoproj/argo-cd/v3/util/settings"
	"k8s.io/apimachinery/pkg/api/resource"
)

// render prints what the repo server makes of the Application's source, which it finds in a checkout of its repository. It is told of the
// cluster what GetRepoObjs of the controller tells it. It runs the helm that is beside this program.
func (c *controller) render(ctx context.Context, checkout string, stdout io.Writer) error {
	version, err := c.kubectl.GetServerVersion(c.config)
	if err != nil {
		return err
	}
	served, err := c.kubectl.GetAPIResources(c.config, false, &settings.ResourcesFilter{})
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Setenv("PATH", filepath.Dir(program)+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		return err
	}
	source := c.app.Spec.GetSource()
	request := &apiclient.ManifestRequest{
		Repo:              &v1alpha1.Repository{Repo: source.RepoURL},
		AppLabelKey:       common.LabelKeyAppInstance,
		AppName:           c.app.Name,
		Namespace:         c.app.Spec.Destination.Namespace,
		ApplicationSource: &source,
		KubeVersion:       version,
		ApiVersions:       argo.APIResourcesToStrings(served, true),
		TrackingMethod:    string(v1alpha1.TrackingMethodAnnotation),
	}
	rendered, err := repository.GenerateManifests(ctx, filepath.Join(checkout, source.Path), checkout, source.TargetRevision, request, false, git.NoopCredsStore{}, resource.MustParse("0"), nil)
	if err != nil {
		return err
	}
	for _, manifest := range rendered.Manifests {
		fmt.Fprintf(stdout, "---\n%s\n", manifest)
	}
	return nil
}
