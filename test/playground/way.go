package playground

import (
	"bytes"
	"encoding/binary"
	"io"
	"time"
)

// Way is how callers get to servers.
type Way string

const (
	// Open is the way that leads there.
	Open Way = ""
	// Silent is one on which nothing arrives, and nobody is told: as behind a NetworkPolicy.
	Silent Way = "silent"
	// Slow is one on which all arrives SlowBy later, in either direction.
	Slow Way = "slow"
	// Refused ends connections at once: as if there were no endpoints.
	Refused Way = "refused"
	// OldTLS has callers offer TLS 1.2 at most. The handshake fails even if the server takes that, for the two have not seen the same.
	OldTLS Way = "old TLS"
)

// SlowBy is how long bytes take on a way that is Slow.
const SlowBy = 300 * time.Millisecond

// Of TLS records and extensions, see RFC 8446, 4.2 and 5.1.
const recordHeader = 5

var (
	// supportedVersions is the extension by which a client of Go offers TLS 1.3 and 1.2.
	supportedVersions = []byte{0x00, 0x2b, 0x00, 0x05, 0x04, 0x03, 0x04, 0x03, 0x03}
	// unknownExtension is one of the same length that means nothing.
	unknownExtension = []byte{0xfa, 0xfa, 0x00, 0x05, 0x04, 0x03, 0x04, 0x03, 0x03}
)

// withoutVersions returns a reader of what caller sends in which its first record, the ClientHello, does not say that TLS 1.3 is spoken.
func withoutVersions(caller io.Reader) (io.Reader, error) {
	record := make([]byte, recordHeader)
	if _, err := io.ReadFull(caller, record); err != nil {
		return nil, err
	}
	record = append(record, make([]byte, binary.BigEndian.Uint16(record[3:]))...)
	if _, err := io.ReadFull(caller, record[recordHeader:]); err != nil {
		return nil, err
	}
	return io.MultiReader(bytes.NewReader(bytes.Replace(record, supportedVersions, unknownExtension, 1)), caller), nil
}
