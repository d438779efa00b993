// Package e2e tests the whole of caject on a real API server: the chart, the binary (built with the race detector)
// under the chart's own ServiceAccount, called through the chart's Service.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/caject/caject/test/playground"
)

// timeout is generous: no test is about time.
const timeout = 30 * time.Second

// namespace is where tests put their Secrets.
const namespace = "e2e"

// shared is the installation that most tests work with, at the same time.
var shared *installation

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "caject-e2e-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if err := buildBinary(dir); err != nil {
		return 1, err
	}
	if err := os.Mkdir(filepath.Join(dir, "shared"), 0o700); err != nil {
		return 1, err
	}
	// The interval is short, so that tests of the periodic loop do not take long.
	shared, err = install(filepath.Join(dir, "shared"), "resyncInterval=1s")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, shared.control.Stop()) }()
	process, err := shared.start("caject.log")
	if err != nil {
		return 1, err
	}
	shared.process = process
	defer func() {
		err = errors.Join(err, process.Stop())
		if code != 0 || err != nil {
			fmt.Printf("caject's log:\n%s\n", process.ReadLog())
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := process.WaitReady(ctx); err != nil {
		return 1, err
	}
	code = m.Run()
	if err := checkAudit(shared.control); err != nil {
		return 1, err
	}
	return code, nil
}

// binary is caject, built with the race detector.
var binary string

func buildBinary(dir string) error {
	root, err := playground.Root()
	if err != nil {
		return err
	}
	binary = filepath.Join(dir, "caject")
	build := exec.Command("go", "build", "-race", "-o", binary, "./cmd/caject")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build caject: %w\n%s", err, out)
	}
	return nil
}

// installation is a control plane with the chart installed.
type installation struct {
	*playground.Installation
	control *playground.ControlPlane
	client  client.WithWatch // the admin's
	process *playground.Process
	// warnings are what the API server told the client.
	warnings *warnings
}

func install(dir string, values ...string) (*installation, error) {
	i, err := newCluster(dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if i.Installation, err = playground.Install(ctx, i.control, values...); err != nil {
		return nil, errors.Join(err, i.control.Stop())
	}
	return i, nil
}

// newCluster starts a control plane. Nothing is installed.
func newCluster(dir string) (*installation, error) {
	root, err := playground.Root()
	if err != nil {
		return nil, err
	}
	control, err := playground.StartControlPlane(root, dir)
	if err != nil {
		return nil, err
	}
	i := &installation{control: control, warnings: &warnings{}}
	if i.Installation, err = playground.NewInstallation(control); err != nil {
		return nil, errors.Join(err, control.Stop())
	}
	config := rest.CopyConfig(control.Config)
	config.WarningHandler = i.warnings
	if i.client, err = playground.NewClient(config); err == nil {
		err = i.client.Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	}
	if err != nil {
		return nil, errors.Join(err, control.Stop())
	}
	return i, nil
}

// own installs the chart on a control plane that the test has for itself.
func own(t *testing.T, values ...string) *installation {
	t.Helper()
	i, err := install(t.TempDir(), values...)
	return i.until(t, err)
}

// bare is a control plane that the test has for itself, without the chart.
func bare(t *testing.T) *installation {
	t.Helper()
	i, err := newCluster(t.TempDir())
	return i.until(t, err)
}

// until stops the control plane when the test ends. err is that of its start.
func (i *installation) until(t *testing.T, err error) *installation {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.control.Stop(); err != nil {
			t.Error(err)
		}
	})
	return i
}

// start runs caject with the arguments of the chart, and more.
func (i *installation) start(log string, args ...string) (*playground.Process, error) {
	return i.Start(binary, filepath.Join(i.control.Dir, log), args...)
}

// run runs caject until the test ends.
func (i *installation) run(t *testing.T, log string, args ...string) *playground.Process {
	t.Helper()
	process, err := i.start(log, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Stop(); err != nil {
			t.Errorf("%s: %v", log, err)
		}
		if t.Failed() {
			t.Logf("%s:\n%s", log, process.ReadLog())
		}
	})
	return process
}

// warnings collects what the API server warns of.
type warnings struct {
	mu  sync.Mutex
	all []string
}

// HandleWarningHeader implements [rest.WarningHandler].
func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, text)
}

// about returns the warnings that hold all of words.
func (w *warnings) about(words ...string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []string
warnings:
	for _, text := range w.all {
		for _, word := range words {
			if !strings.Contains(text, word) {
				continue warnings
			}
		}
		found = append(found, text)
	}
	return found
}

// eventually fails the test unless condition gets true.
func eventually(t *testing.T, what string, condition func(context.Context) error) {
	t.Helper()
	if err := playground.Eventually(t.Context(), timeout, 10*time.Millisecond, condition); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// create creates objects, and deletes them when the test ends.
func (i *installation) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := i.client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			err := i.client.Delete(context.WithoutCancel(t.Context()), object)
			if client.IgnoreNotFound(err) != nil {
				t.Error(err)
			}
		})
	}
}

// filled fails the test unless each caBundle of object gets want.
func (i *installation) filled(t *testing.T, object client.Object, want ...[]byte) {
	t.Helper()
	eventually(t, "fill "+object.GetName(), func(ctx context.Context) error {
		if err := i.client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		return playground.Holds(object, want...)
	})
}

// edit writes value into each caBundle of object. The object is then as the API server answers.
func (i *installation) edit(t *testing.T, object client.Object, value []byte) {
	t.Helper()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := i.client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		playground.SetCABundles(object, value)
		return i.client.Update(t.Context(), object)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// event fails the test unless object gets an Event with the given reason, and returns its text.
func (i *installation) event(t *testing.T, object client.Object, reason string) string {
	t.Helper()
	text := ""
	eventually(t, fmt.Sprintf("Event %s on %s", reason, object.GetName()), func(ctx context.Context) error {
		events, err := playground.EventsOn(ctx, i.client, object)
		if err != nil {
			return err
		}
		for _, event := range events {
			if event.Reason == reason {
				text = event.Message
				return nil
			}
		}
		return errors.New("there is none")
	})
	return text
}
