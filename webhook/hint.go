package webhook

import (
	"context"
	"fmt"
	"net/http"

	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/caject/caject/cabundle"
)

// HintPath is where the Hinter is served.
const HintPath = "/hint"

// Hinter takes what the API server is about to write as a hint that a source changes. The API server sends whole Secrets: a
// Hinter reads an object's name and how it opts in, keeps and logs nothing, changes nothing and denies
// nothing. It implements [admission.Handler].
type Hinter struct {
	hint  func(cabundle.Reference)
	ahead func(cabundle.Reference)
}

// NewHinter returns a Hinter that calls hint with each source that may change, and ahead with those of them that a target may name by
// now: a Secret that does not allow it is none. Neither must block: the author of the Secret waits. Whoever reaches the server can send
// hints of any source, as many as they like, so both must bound what they start.
func NewHinter(hint, ahead func(cabundle.Reference)) *Hinter {
	return &Hinter{hint: hint, ahead: ahead}
}

// Handle answers one request: it is allowed, with a warning if a Secret opts in with white space around the value.
func (h *Hinter) Handle(ctx context.Context, req admission.Request) (response admission.Response) {
	defer func() {
		if r := recover(); r != nil {
			// Not what was sent: it may be in the panic's text.
			log.FromContext(ctx).Error(fmt.Errorf("panic in %T", h), "Recovered in a hint")
			response = admission.Allowed("")
		}
	}()
	if req.UID == "" {
		return admission.Errored(http.StatusBadRequest, errNoRequest)
	}
	if req.DryRun != nil && *req.DryRun {
		return admission.Allowed("")
	}
	switch {
	case req.Kind.Group == "" && req.Kind.Kind == "Secret":
		secret := cabundle.Reference{Kind: cabundle.Secret, Namespace: req.Namespace, Name: req.Name}
		h.hint(secret)
		response = admission.Allowed("")
		for _, raw := range [][]byte{req.OldObject.Raw, req.Object.Raw} {
			annotations := cabundle.OptIns(raw)
			if cabundle.AllowsDirectInjection(annotations) {
				h.ahead(secret)
			}
			if name := cabundle.CertificateName(annotations); name != "" {
				h.both(cabundle.Reference{Kind: cabundle.Certificate, Namespace: req.Namespace, Name: name})
			}
			response.Warnings = nil // what was there before is no news
			if padded := cabundle.PaddedOptIn(annotations); padded != "" {
				response.Warnings = []string{"caject: " + cabundle.PaddedMessage(padded)}
			}
		}
		return response
	case req.Kind.Group == "cert-manager.io" && req.Kind.Kind == "Certificate":
		h.both(cabundle.Reference{Kind: cabundle.Certificate, Namespace: req.Namespace, Name: req.Name})
	}
	return admission.Allowed("")
}

func (h *Hinter) both(ref cabundle.Reference) {
	h.hint(ref)
	h.ahead(ref)
}
