package oracle

import "slices"

// Why caject differs from cert-manager's cainjector, on purpose.
const (
	refusesKey     = "a source with anything but certificates is refused; the peer copies it, private keys too"
	refusesDamaged = "a source with a damaged block or PEM headers is refused; the peer copies it as it is"
	leavesOut      = "a certificate that Go cannot parse is left out of what is injected, with a warning; the peer copies it, or cannot merge"
	refusesNone    = "a source without a certificate is refused; the peer copies it, or prunes the target"
	refusesLarge   = "a source of more than 64 KiB is refused: it could push the target over etcd's limit"
	keepsExpired   = "the last known good bundle is kept when all of the source has expired; the peer empties the field"
	keepsGood      = "of a damaged caBundle the good certificates are kept; the peer throws all away"
	leavesRight    = "what is right already is not written for the sake of a comment or line end; the peer rewrites it"
	writesPlain    = "what is written is plain PEM; where it cannot merge, the peer copies comments and expired certificates"
	restores       = "an update that loses a good bundle gets it back at admission; the peer starts anew, or has nothing to start from"
	trims          = "white space around the value of an annotation is left out, with a warning; the peer takes it for part of the name"
)

// differences are all of them.
var differences = []string{
	refusesKey, refusesDamaged, leavesOut, refusesNone, refusesLarge, keepsExpired, keepsGood, leavesRight, writesPlain, restores, trims,
}

// deliver says what a caBundle that holds held should hold in caject once a usable source with ca has reached it, and
// why that can differ from what the peer makes of it, or "" if it must not.
func deliver(held, ca content, merging bool) (content, string) {
	switch {
	case ca.has("big"):
		return held, refusesLarge
	case ca.has("key"):
		return held, refusesKey
	case ca.has("bad", "hdr"):
		return held, refusesDamaged
	case len(ca.certificates()) == 0:
		return held, refusesNone
	case len(unexpired(ca.certificates())) == 0:
		return held, keepsExpired
	}
	want := ca.certificates()
	if merging {
		want = unexpired(append(held.certificates(), ca.certificates()...))
	}
	switch {
	case held.strict() && slices.Equal(held.certificates(), want):
		if held.plain() && ca.plain() {
			return held, ""
		}
		return held, leavesRight
	case ca.has("neg"):
		return contentOf(want), leavesOut
	case merging && held.has("key", "neg", "bad", "hdr"):
		return contentOf(want), keepsGood
	case !ca.plain() || merging && len(unexpired(ca.certificates())) < len(ca.certificates()):
		// Only where the peer cannot merge: what is there is no PEM, or the gate is off.
		if !merging || len(held.words()) > 0 && len(held.certificates()) == 0 {
			return contentOf(want), writesPlain
		}
	}
	return contentOf(want), ""
}
