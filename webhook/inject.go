// Package webhook is what the API server calls: mutating admission that fills the caBundle of an annotated object in
// the very request that creates or updates it.
//
// It never stands in anybody's way. Whatever goes wrong, the answer is "allowed", with a warning that kubectl and helm
// print; the resync loop finishes the job later.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"github.com/tidwall/gjson"
	"golang.org/x/sync/semaphore"
	"gomodules.xyz/jsonpatch/v2"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/caject/caject/cabundle"
	"github.com/caject/caject/cabundle/cluster"
	"github.com/caject/caject/cabundle/metrics"
)

// InjectPath is where the Injector is served.
const InjectPath = "/inject"

// sourceTimeout is the most that reading a source may take within an admission request: the chart gives the whole
// request 3 s, and somebody waits for it.
const sourceTimeout = 1500 * time.Millisecond

// maxSourceReads is how many sources are read at the same time. Each is a consistent read, so a quorum read of etcd, and by
// default whoever reaches the server can ask for one. It is plenty: a read takes a few milliseconds.
const maxSourceReads = 16

type sourceReader interface {
	Read(context.Context, cabundle.Reference, cluster.Freshness) cabundle.Reading
}

// ledger knows the history of each source.
type ledger interface {
	// Weigh returns what a target gets from a reading, and what becomes of the certificates that it holds already.
	Weigh(cabundle.Reference, map[string]string, cabundle.Reading) (cabundle.Reading, cabundle.Combine)
}

var errNoRequest = errors.New("the AdmissionReview holds no request")

// Injector fills caBundles at admission. It implements [admission.Handler].
type Injector struct {
	kinds   []cabundle.Kind
	ledger  ledger
	source  sourceReader
	reads   *semaphore.Weighted // room for maxSourceReads
	metrics *metrics.Metrics
	clock   clock.PassiveClock
}

// NewInjector returns an Injector that fills objects of kinds, and reads sources from s. l says what becomes of what is read.
func NewInjector(kinds []cabundle.Kind, l ledger, s sourceReader, m *metrics.Metrics, c clock.PassiveClock) *Injector {
	return &Injector{kinds: kinds, ledger: l, source: s, reads: semaphore.NewWeighted(maxSourceReads), metrics: m, clock: c}
}

// Handle answers one request. It is always allowed, with a patch of nothing but caBundle fields (and of the conversion webhook that
// consists of nothing else any more), and with a warning if the annotation could not be followed. A review without a request is answered with code 400.
func (i *Injector) Handle(ctx context.Context, req admission.Request) (response admission.Response) {
	if req.UID == "" {
		return admission.Errored(http.StatusBadRequest, errNoRequest)
	}
	kind, known := cabundle.KindOf(req.Kind.Group, req.Kind.Kind)
	if !known || !slices.Contains(i.kinds, kind) || req.SubResource != "" || len(req.Object.Raw) == 0 {
		return admission.Allowed("")
	}
	if req.Operation != admissionv1.Create && req.Operation != admissionv1.Update {
		return admission.Allowed("")
	}
	if probes(req) {
		return admission.Allowed("").WithWarnings(cabundle.ProbeAnswer)
	}
	target := cabundle.Target{Kind: kind, Name: req.Name}
	// controller-runtime would answer a panic with "denied", which failurePolicy: Ignore does not cover.
	defer func() {
		if r := recover(); r != nil {
			log.FromContext(ctx).Error(fmt.Errorf("panic: %v", r), "Recovered in admission", "target", target, "stack", string(debug.Stack()))
			response = i.allow(target, nil, cabundle.Panicked(target))
		}
	}()

	object := cabundle.ParseObject(kind, req.Object.Raw)
	object.Name = target.Name
	var old *cabundle.Object
	if len(req.OldObject.Raw) > 0 {
		parsed := cabundle.ParseObject(kind, req.OldObject.Raw)
		old = &parsed
	}
	answer := i.inject(ctx, object, old)
	response = i.allow(target, answer.patch, answer.problem)
	if taken, message := cabundle.TakeAway(kind, req.Object.Raw, req.OldObject.Raw); len(taken) > 0 && !object.Deleting {
		response.Patches = append(response.Patches, taken...)
		response.Warnings = append(response.Warnings, "caject: "+message)
	}
	for _, remark := range answer.remarks(object) {
		response.Warnings = append(response.Warnings, "caject: "+remark)
	}
	return response
}

// probes reports whether req only asks whether caject is called.
func probes(req admission.Request) bool {
	return gjson.GetBytes(req.Options.Raw, "fieldManager").String() == cabundle.ProbeFieldManager && req.DryRun != nil && *req.DryRun
}

// answer is what to change in an object, and what to say of it.
type answer struct {
	patch   []jsonpatch.Operation
	problem *cabundle.Problem // why that is not all that its annotation asks for
	dropped int               // how many certificates were dropped for want of room
	leftOut []string          // see cabundle.Reading
}

// remarks returns what else there is to say of object, one line each.
func (a answer) remarks(object cabundle.Object) []string {
	var all []string
	if key, meant := cabundle.MisspeltAnnotation(object.Annotations); key != "" {
		all = append(all, cabundle.MisspeltMessage(key, meant))
	}
	if padded := cabundle.PaddedAnnotation(object.Annotations); padded != "" {
		all = append(all, cabundle.PaddedMessage(padded))
	}
	if mode := cabundle.UnknownMode(object.Annotations); mode != "" {
		all = append(all, cabundle.UnknownModeMessage(mode))
	}
	if len(a.leftOut) > 0 {
		all = append(all, cabundle.LeftOutMessage(a.leftOut))
	}
	if a.dropped > 0 {
		all = append(all, cabundle.DroppedMessage(a.dropped))
	}
	return all
}

// inject decides what to change in object.
func (i *Injector) inject(ctx context.Context, object cabundle.Object, old *cabundle.Object) answer {
	ref, annotated, problem := cabundle.ReferenceOf(object.Annotations)
	if !annotated || object.Deleting {
		return answer{}
	}
	if problem == nil && object.NotInjectable != "" {
		return answer{} // nothing is wrong
	}
	reading := cabundle.Reading{Problem: problem}
	if problem == nil {
		reading = i.read(ctx, ref)
	}
	reading, combine := i.ledger.Weigh(ref, object.Annotations, reading)
	patch, dropped, unfilled := cabundle.Inject(i.clock.Now(), object, old, reading.Bundle, combine)
	if reading.Problem != nil {
		unfilled = reading.Problem
	}
	return answer{patch: patch, problem: unfilled, dropped: dropped, leftOut: reading.LeftOut}
}

// read reads ref, once there is room for it. Waiting and reading together take at most sourceTimeout.
func (i *Injector) read(ctx context.Context, ref cabundle.Reference) cabundle.Reading {
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	defer cancel()
	if err := i.reads.Acquire(ctx, 1); err != nil {
		return cabundle.Reading{Problem: &cabundle.Problem{
			Reason: cabundle.SourceUnavailable,
			Detail: fmt.Sprintf("the source %s could not be read in time: caject reads too many others", ref),
		}}
	}
	defer i.reads.Release(1)
	reading := i.source.Read(ctx, ref, cluster.Consistent)
	i.metrics.SourceRead(metrics.Admission, reading.Problem)
	return reading
}

// allow makes the answer, and counts it.
func (i *Injector) allow(target cabundle.Target, patch []jsonpatch.Operation, problem *cabundle.Problem) admission.Response {
	response := admission.Allowed("")
	response.Patches = patch
	switch {
	case problem != nil:
		i.metrics.Refused(metrics.Admission, problem.Reason)
		response.Warnings = []string{"caject: " + problem.Message()}
	case len(patch) > 0:
		i.metrics.Injected(metrics.Admission, target.Kind)
	}
	return response
}
