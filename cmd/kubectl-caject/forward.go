package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/klog/v2"
)

// forwarding leads from a port of loopback to one of a pod, by way of the API server.
type forwarding struct {
	address string
	// end closes it, and waits until it is closed.
	end func()

	mu   sync.Mutex
	said []error // by the pod's node
}

// forward begins to forward. It needs the right to create pods/portforward.
func (p *plugin) forward(ctx context.Context, namespace, pod string, port int32) (*forwarding, error) {
	config, err := p.config.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	f := &forwarding{}
	ctx, cancel := context.WithCancel(klog.NewContext(ctx, funcr.New(f.note, funcr.Options{})))
	ready, ended := make(chan struct{}), make(chan error, 1)
	forwarder, err := forwarderTo(ctx, config, namespace, pod, port, ready)
	if err != nil {
		cancel()
		return nil, err
	}
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err = <-ended:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("forward a port of Pod %s/%s: %w", namespace, pod, err)
	}
	f.end = func() {
		cancel()
		<-ended
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		f.end()
		return nil, err
	}
	f.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[0].Local)))
	return f, nil
}

// note keeps what the API server says of a connection that has failed.
func (f *forwarding) note(_, said string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = append(f.said, errors.New(said))
}

// failed returns err, with what the API server has said.
func (f *forwarding) failed(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(append([]error{err}, f.said...)...)
}

// forwarderTo tries WebSocket first, as kubectl does, and SPDY if that does not get through.
func forwarderTo(ctx context.Context, config *rest.Config, namespace, pod string, port int32, ready chan struct{}) (*portforward.PortForwarder, error) {
	at, err := portForwardURL(config, namespace, pod)
	if err != nil {
		return nil, err
	}
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	overWebSocket, err := portforward.NewSPDYOverWebsocketDialer(at, config)
	if err != nil {
		return nil, err
	}
	dialer := portforward.NewFallbackDialer(overWebSocket,
		spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, at),
		func(error) bool { return true })
	ports := []string{"0:" + strconv.Itoa(int(port))}
	return portforward.NewOnAddressesWithContext(ctx, dialer, []string{"127.0.0.1"}, ports, ready, io.Discard, io.Discard)
}

// portForwardURL is that of a pod's subresource.
func portForwardURL(config *rest.Config, namespace, pod string) (*url.URL, error) {
	config = rest.CopyConfig(config)
	config.GroupVersion, config.APIPath, config.NegotiatedSerializer = &corev1.SchemeGroupVersion, "/api", scheme.Codecs.WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	return client.Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL(), nil
}

// notForwarded is an error of the way to a pod, not of what serves there.
type notForwarded struct{ error }

func (n notForwarded) Unwrap() error { return n.error }

// shownByPod returns the certificates that a pod serves on port to whoever asks for name, its own first. The error is a notForwarded if the API
// server does not lead there.
func (p *plugin) shownByPod(ctx context.Context, namespace, pod string, port int32, name string) ([]*x509.Certificate, error) {
	forwarding, err := p.forward(ctx, namespace, pod, port)
	if err != nil {
		return nil, notForwarded{err}
	}
	shown, err := handshake(ctx, forwarding.address, name)
	forwarding.end()
	if err != nil {
		return nil, forwarding.failed(err)
	}
	return shown, nil
}
