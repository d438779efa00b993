package playground

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strconv"
)

// Served returns the certificate that caject serves on a port of loopback over a new connection, as whoever trusts ca (PEM) sees it.
func Served(port int, ca []byte) (*x509.Certificate, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	connection, err := tls.Dial("tcp", net.JoinHostPort("localhost", strconv.Itoa(port)), &tls.Config{
		RootCAs: roots, ServerName: fmt.Sprintf("caject.%s.svc", Namespace),
	})
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	return connection.ConnectionState().PeerCertificates[0], nil
}
