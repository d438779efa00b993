package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"strconv"

	"github.com/caject/caject/cabundle/survey"
)

// addDials connects to each server behind the target, and adds what it serves.
func (i *inspectCommand) addDials(ctx context.Context, reader *survey.Reader, found *survey.Inspection) error {
	servers, err := reader.Servers(ctx, found.Finding)
	if err != nil {
		return err
	}
	type answer struct {
		served []*x509.Certificate
		way    string
		err    error
	}
	answers := map[string]answer{} // each server is asked once, whatever is trusted
	for n := range servers {
		server := &servers[n]
		got, has := answers[server.String()]
		if !has {
			got.served, got.way, got.err = i.servedBy(ctx, reader, server)
			answers[server.String()] = got
		}
		dial := survey.Dial{Webhooks: server.Webhooks, Server: survey.Printable(server.String()), ServerName: survey.Printable(server.ServerName()), Way: got.way}
		if got.err != nil {
			dial.Verdict, dial.Message = survey.NotServed, survey.Printable(explain(ctx, got.err))
		} else {
			dial.Serves(found.At, got.served, server.CABundle)
		}
		found.Dials = append(found.Dials, dial)
	}
	if len(servers) == 0 {
		found.Notes = append(found.Notes, "there is no server to dial")
	}
	return ctx.Err()
}

// servedBy returns the certificates that a server sends, its own first, and says how it was reached.
func (i *inspectCommand) servedBy(ctx context.Context, reader *survey.Reader, server *survey.Server) (served []*x509.Certificate, way string, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if server.URL != "" {
		address, host, err := server.Address()
		if err != nil {
			return nil, "", err
		}
		served, err = handshake(ctx, address, host)
		return served, "reached from here, as the API server would", err
	}
	endpoint, err := reader.Endpoint(ctx, server)
	if err != nil {
		return nil, "", err
	}
	if endpoint.Pod == "" {
		address := net.JoinHostPort(endpoint.Host, strconv.Itoa(int(endpoint.Port)))
		served, err = handshake(ctx, address, server.ServerName())
		return served, fmt.Sprintf("reached from here at %s, for %s", address, endpoint.Why), err
	}
	way = fmt.Sprintf("reached by forwarding port %d of Pod %s/%s", endpoint.Port, server.Namespace, endpoint.Pod)
	served, err = i.shownByPod(ctx, server.Namespace, endpoint.Pod, endpoint.Port, server.ServerName())
	return served, way, err
}
