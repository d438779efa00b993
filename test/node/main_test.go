package node

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/caject/caject/test/playground"
)

var shared *Node

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	if err := Enter(); err != nil {
		return 1, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	root, err := playground.Root()
	if err != nil {
		return 1, err
	}
	dir := "/tmp/nodetest"
	os.RemoveAll(dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 1, err
	}
	shared, err = Start(ctx, root, dir, IPv4)
	if err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func TestIt(t *testing.T) {
	out, err := shared.Kubectl(t.Context(), "", "get", "nodes", "-o", "wide")
	t.Log(out.Stdout, out.Stderr, err)
	h, err := shared.Helm(t.Context(), "install", "caject", shared.Root+"/charts/caject", "-n", "caject", "--create-namespace", "--wait", "--timeout", "60s")
	t.Log(h.Stdout, h.Stderr, err)
	out, err = shared.Kubectl(t.Context(), "", "get", "pods", "-A", "-o", "wide")
	t.Log(out.Stdout, out.Stderr, err)
	out, err = shared.Kubectl(t.Context(), "", "get", "events", "-A")
	t.Log(out.Stdout, out.Stderr, err)
}
