package main

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/lead"
	"github.com/caject/caject/cabundle/publish"
	"github.com/caject/caject/cabundle/resync"
	"github.com/caject/caject/cabundle/shards"
	"github.com/caject/caject/certs"
	"github.com/caject/caject/webhook"
)

// resyncOptions say how targets are kept right outside admission.
type resyncOptions struct {
	resyncInterval time.Duration
	retireAfter    time.Duration
	// publishTo is where shards are, as namespace/name; empty if nothing is published.
	publishTo string
	policy    bool
	// suggestPolicy has caject say when there are policies to be had.
	suggestPolicy bool
	// policyKinds are the resources of the kinds that admission policies fill; empty for all.
	policyKinds []string
	// distrust holds SHA-256 fingerprints of certificates (DER) in lower-case hex; validate brings them into that form.
	distrust []string
	// targetEvents has Events written on targets, and on CABundles, which are cluster-scoped as well.
	targetEvents bool
}

func defaultResync() resyncOptions {
	return resyncOptions{resyncInterval: 30 * time.Second, targetEvents: true}
}

func (r *resyncOptions) addFlags(flags *pflag.FlagSet) {
	flags.DurationVar(&r.resyncInterval, "resync-interval", r.resyncInterval,
		"Time between two readings of each referenced source.")
	flags.DurationVar(&r.retireAfter, "retire-after", r.retireAfter,
		"How long after a certificate has left its source caject removes it from the targets, expired or not; 0 keeps it until it expires. "+
			"Choose a longer time than any serving certificate that it has signed stays in use. Needs --publish-to.")
	flags.StringVar(&r.publishTo, "publish-to", r.publishTo,
		"Publish each source's bundle in PodTemplates of this namespace whose names begin with this name, as namespace/name, "+
			"for admission policies; and show it as a CABundle.")
	flags.BoolVar(&r.policy, "admission-policy", r.policy,
		"Admission policies fill targets with published bundles: let them write targets where they can. Needs --publish-to.")
	flags.BoolVar(&r.suggestPolicy, "suggest-admission-policy", r.suggestPolicy,
		"Report in the log, and in a metric, when the API server serves MutatingAdmissionPolicies. The chart sets it if it was rendered without "+
			"policies because the cluster served none.")
	flags.StringSliceVar(&r.policyKinds, "admission-policy-kinds", r.policyKinds,
		"The kinds that the policies of --admission-policy fill, such as validatingwebhookconfigurations. Without it: all kinds.")
	flags.BoolVar(&r.targetEvents, "target-events", r.targetEvents,
		"Write Events on targets and CABundles, in namespace default. Without them, CABundles, metrics and the log show what is wrong.")
	flags.StringSliceVar(&r.distrust, "distrust", r.distrust,
		"SHA-256 fingerprints, in hex with or without colons, of certificates that no target may hold any more, whatever source has them.")
}

func (r *resyncOptions) validate(wrong *mistakes) {
	if r.resyncInterval < 100*time.Millisecond {
		wrong.add("resync-interval", "%s is less than 100ms", r.resyncInterval)
	}
	switch {
	case r.retireAfter < 0:
		wrong.add("retire-after", "%s is less than 0", r.retireAfter)
	case r.retireAfter > 0 && !r.publishes():
		wrong.add("retire-after", "needs --publish-to")
	}
	if r.policy && !r.publishes() {
		wrong.add("admission-policy", "needs --publish-to")
	}
	if o := r.shards(); r.publishes() && (len(validation.IsDNS1123Label(o.Namespace)) > 0 || len(validation.IsDNS1123Label(o.Name)) > 0) {
		wrong.add("publish-to", "%q is not namespace/name", r.publishTo)
	}
	for _, resource := range r.policyKinds {
		if !slices.ContainsFunc(cabundle.Kinds(), func(kind cabundle.Kind) bool { return kind.Resource().Resource == resource }) {
			wrong.add("admission-policy-kinds", "%q is not the resource of a kind that has a caBundle", resource)
		}
	}
	for i, value := range r.distrust {
		fingerprint, ok := parseFingerprint(value)
		if !ok {
			wrong.add("distrust", "%q is not a SHA-256 fingerprint: 64 hexadecimal digits, with or without a colon between two bytes", value)
			continue
		}
		r.distrust[i] = fingerprint
	}
}

// publishes reports whether anything is published.
func (r *resyncOptions) publishes() bool { return r.publishTo != "" }

// shards says where what is published is kept.
func (r *resyncOptions) shards() shards.Options {
	namespace, name, _ := strings.Cut(r.publishTo, "/")
	return shards.Options{Namespace: namespace, Name: name}
}

// parseFingerprint returns a SHA-256 fingerprint in lower-case hex: AB:CD:… (32 bytes, as openssl prints it) becomes abcd….
func parseFingerprint(value string) (string, bool) {
	bytes := strings.Split(value, ":")
	if len(bytes) > 1 {
		for _, digits := range bytes {
			if len(digits) != 2 {
				return "", false
			}
		}
	}
	decoded, err := hex.DecodeString(strings.Join(bytes, ""))
	if err != nil || len(decoded) != 32 {
		return "", false
	}
	return hex.EncodeToString(decoded), true
}

// rules say how bundles are combined.
func (o *options) rules() cabundle.Rules {
	return cabundle.Rules{Replace: o.replaces(), RetireAfter: o.retireAfter, Distrusted: o.distrust}
}

// resyncConfig returns what resync has to know. server is that of admission, if it is served.
func (o *options) resyncConfig(leader *lead.Lead, keeper *certs.Keeper, server *webhook.Server) resync.Options {
	config := resync.Options{
		Interval: o.resyncInterval,
		Kinds:    o.kinds(),
		Leads:    leader.Leads,
		Webhook:  o.serves(),
	}
	if o.serves() {
		config.Own = o.ownConfigurations()
		config.Observe = o.ownChanges(keeper.Wake)
		config.Handshakes = server.Handshakes
	}
	return config
}

// policyFills are the kinds that admission policies fill, if any do.
func (o *options) policyFills() []cabundle.Kind {
	return slices.DeleteFunc(o.kinds(), func(kind cabundle.Kind) bool {
		return len(o.policyKinds) > 0 && !slices.Contains(o.policyKinds, kind.Resource().Resource)
	})
}

// publishConfig returns what publishing has to know.
func (o *options) publishConfig(leader *lead.Lead) publish.Options {
	return publish.Options{
		Interval:    o.resyncInterval,
		Rules:       o.rules(),
		Leads:       leader.Leads,
		Policy:      o.policy,
		PolicyKinds: o.policyFills(),
	}
}
