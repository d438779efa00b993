// Command versions runs the end-to-end tests on the kube-apiservers of several versions of Kubernetes, one after the other, and prints what
// ran where: make test K8S='1.30 1.36'.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/caject/caject/test/playground"
)

// short are the tests of the short form: what depends on the version, and something of each way in which a caBundle is filled.
const short = "^Test(" +
	"ThereArePoliciesWhereTheyAreServed|APlainInstallIsAccepted|Rights|WhatIsWatched|CertManager|" + // what the API server takes and allows
	"ACreatedObjectIsFilled|WithoutCABundles|ALargeCRDIsFilled|ADryRunShowsTheBundleAndStoresNothing|TheLifeOfACABundle|" + // filled
	"ARotationIsPushed|ARotationIsFollowed|WhatIsNoHint|TheAPIServerIsAway|TheAPIServerReadsAnnotationsAsWeDo|SourcesArePublishedBeforeTheyAreNamed|" + // followed
	"AnEditOfTheCABundleIsPutRight|APlaceholderAppliedOverAGoodBundle|ACertificateThatTheAPIServerCannotReadIsLeftOut|" + // put right
	"WithoutThePoliciesTheWebhookKeepsAndTakesAway|ThePoliciesKeepAndTakeAway|WithoutCajectThePolicyFills|WhatCannotTakeACABundleIsLeftAlone|" + // kept
	"WhoAppliesAWebhookConfigurationIsWarned|AStolenTokenCannotChangeMoreThanCABundles|OnlyCajectWritesCABundles" + // refused
	")$"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "versions:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("versions", flag.ContinueOnError)
	isShort := flags.Bool("short", false, "run a selection of the tests")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("usage: versions [-short] VERSION..., such as 1.30 or " + playground.Current)
	}
	root, err := playground.Root()
	if err != nil {
		return err
	}
	var results []*result
	var errs []error
	for _, version := range flags.Args() {
		r, err := try(ctx, root, version, *isShort)
		if err != nil {
			err = fmt.Errorf("%s: %w", version, err)
		}
		errs = append(errs, err)
		if r != nil {
			results = append(results, r)
		}
	}
	printTable(results)
	return errors.Join(errs...)
}

// try builds a version and runs the tests on it. The result is nil if no test ran.
func try(ctx context.Context, root, version string, isShort bool) (*result, error) {
	assets := filepath.Join(root, "bin")
	if version != playground.Current {
		build := exec.CommandContext(ctx, filepath.Join(root, "test", "controlplane", "build"), version)
		build.Stdout, build.Stderr = os.Stdout, os.Stderr
		if err := build.Run(); err != nil {
			return nil, fmt.Errorf("build it: %w", err)
		}
		assets = filepath.Join(assets, "k8s", version)
	}
	events, err := os.CreateTemp("", "caject-versions-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(events.Name())
	defer events.Close()
	args := []string{"--format", "testname", "--format-hide-empty-pkg", "--jsonfile", events.Name(), "--", "-race", "-count=1", "-parallel", "4", "-timeout", "30m"}
	if isShort {
		args = append(args, "-run", short)
	}
	tests := exec.CommandContext(ctx, filepath.Join(root, "bin", "gotestsum"), append(args, "./e2e")...)
	tests.Dir, tests.Stdout, tests.Stderr = filepath.Join(root, "test"), os.Stdout, os.Stderr
	tests.Env = append(os.Environ(), "KUBEBUILDER_ASSETS="+assets)
	tests.Cancel = func() error { return tests.Process.Signal(syscall.SIGTERM) } // it ends what it has started
	began := time.Now()
	failed := tests.Run()
	r, err := read(events)
	if err != nil {
		return nil, errors.Join(failed, err)
	}
	r.version, r.took = version, time.Since(began)
	return r, failed
}

func printTable(results []*result) {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\n  Kubernetes\tAPI server\tpolicies fill\ttests\tpassed\ttook")
	for _, r := range results {
		fmt.Fprintf(table, "  %s\t%s\t%s\t%d\t%d\t%s\n", r.version, r.server, r.policies, r.tests, r.passed, r.took.Round(time.Second))
	}
	_ = table.Flush()
}
