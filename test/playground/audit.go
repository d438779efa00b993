package playground

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// AuditLog is the file, within Dir, of all that caject asks of the API server: one audit event a line, as JSON.
const AuditLog = "audit.log"

// auditCaject has the API server write AuditLog.
func auditCaject(apiServer *envtest.APIServer, dir string) error {
	policy := filepath.Join(dir, "audit-policy.yaml")
	err := os.WriteFile(policy, []byte(`apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users: ["system:serviceaccount:`+Namespace+`:caject"]
  - level: None
`), 0o600)
	if err != nil {
		return err
	}
	// One that is there is appended to, by each of several API servers.
	if err := os.WriteFile(filepath.Join(dir, AuditLog), nil, 0o600); err != nil {
		return err
	}
	apiServer.Configure().
		Set("audit-policy-file", policy).
		Set("audit-log-path", filepath.Join(dir, AuditLog)).
		Set("audit-log-maxsize", "0") // one file, however long the test takes
	return nil
}

// Request is one that caject made of the API server.
type Request struct {
	// At is when the API server received it.
	At time.Time
	// Verb is that of RBAC, such as get, watch or patch.
	Verb string
	// Group, Resource and Subresource say of what kind the object is, and Namespace and Name which; the name of a list is empty.
	Group, Resource, Subresource, Namespace, Name string
	// URI is the path, and the query.
	URI string
	// User and UserAgent are who asked.
	User, UserAgent string
	// Code is the HTTP status of the answer.
	Code int
}

// Object says what the request was about: "secrets ns/name" or "cabundles/status name".
func (r Request) Object() string {
	what, which := r.Resource, r.Name
	if r.Subresource != "" {
		what += "/" + r.Subresource
	}
	if r.Namespace != "" {
		which = r.Namespace + "/" + r.Name
	}
	return strings.TrimSpace(what + " " + which)
}

// Mark is a moment in the audit log.
type Mark struct {
	At     time.Time
	offset int64 // in bytes; what was asked later is behind it
}

// Mark returns that of now.
func (c *ControlPlane) Mark() (Mark, error) {
	info, err := os.Stat(filepath.Join(c.Dir, AuditLog))
	if err != nil {
		return Mark{}, err
	}
	return Mark{At: time.Now(), offset: info.Size()}, nil
}

// Requests returns what caject asked of the API server from one mark until another, or until now for the zero Mark. The zero
// Mark as the first one is the beginning of the log. What the API server has not answered yet is not among it.
func (c *ControlPlane) Requests(from, to Mark) ([]Request, error) {
	file, err := os.Open(filepath.Join(c.Dir, AuditLog))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := file.Seek(from.offset, io.SeekStart); err != nil {
		return nil, err
	}
	all, err := parseAudit(file)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	var between []Request
	for _, request := range all {
		if !request.At.Before(from.At) && (to.At.IsZero() || request.At.Before(to.At)) {
			between = append(between, request)
		}
	}
	return between, nil
}

// auditEvent is what is used of an audit event.
type auditEvent struct {
	AuditID                  string
	Verb                     string
	RequestURI               string
	UserAgent                string
	RequestReceivedTimestamp time.Time
	User                     struct{ Username string }
	ObjectRef                struct{ APIGroup, Resource, Subresource, Namespace, Name string }
	ResponseStatus           struct{ Code int }
}

// parseAudit returns the requests in an audit log. A watch has two events, one when it begins and one when it ends; it is one
// request. A line that is no event is left out: an API server that is killed can write half of one.
func parseAudit(log io.Reader) ([]Request, error) {
	var requests []Request
	seen := map[string]bool{}
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event auditEvent
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil || seen[event.AuditID] {
			continue
		}
		seen[event.AuditID] = true
		o := event.ObjectRef
		requests = append(requests, Request{
			At: event.RequestReceivedTimestamp, Verb: event.Verb,
			Group: o.APIGroup, Resource: o.Resource, Subresource: o.Subresource, Namespace: o.Namespace, Name: o.Name, URI: event.RequestURI,
			User: event.User.Username, UserAgent: event.UserAgent, Code: event.ResponseStatus.Code,
		})
	}
	return requests, lines.Err()
}
