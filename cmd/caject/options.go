package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/spf13/pflag"
)

// options are what the command line and the configuration file set, by subject: each has its flags and its rules in a file
// of its own.
type options struct {
	kubeconfig string

	servingOptions
	endpointOptions
	metricsTLS metricsTLS
	resyncOptions
	leaderElection leaderElection
	scopeOptions
	loggingOptions
	cainjectorOptions

	// places says where a value stands that does not come from the command line, by flag: see readConfigFile.
	places map[string]string
}

func defaultOptions() *options {
	return &options{
		servingOptions:  defaultServing(),
		endpointOptions: defaultEndpoints(),
		metricsTLS:      defaultMetricsTLS(),
		resyncOptions:   defaultResync(),
		leaderElection:  defaultLeaderElection(),
		scopeOptions:    defaultScope(),
		loggingOptions:  defaultLogging(),
	}
}

func (o *options) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.kubeconfig, "kubeconfig", o.kubeconfig,
		"Kubeconfig file. Without it: $KUBECONFIG, then ~/.kube/config, then the service account of the pod.")
	o.servingOptions.addFlags(flags)
	o.endpointOptions.addFlags(flags)
	o.metricsTLS.addFlags(flags)
	o.resyncOptions.addFlags(flags)
	o.leaderElection.addFlags(flags)
	o.scopeOptions.addFlags(flags)
	o.loggingOptions.addFlags(flags)
	o.cainjectorOptions.addFlags(flags)
}

// complete takes in the configuration file, if one is named, and validates the whole.
func (o *options) complete(flags *pflag.FlagSet) error {
	if o.config != "" {
		var err error
		if o.places, err = readConfigFile(o.config, flags); err != nil {
			return err
		}
	}
	return o.validate()
}

// validate returns all that is wrong, each error with the place that the value is from.
func (o *options) validate() error {
	wrong := &mistakes{places: o.places}
	o.servingOptions.validate(wrong)
	o.endpointOptions.validate(wrong)
	o.metricsTLS.validate(wrong)
	o.resyncOptions.validate(wrong)
	o.leaderElection.validate(wrong)
	o.scopeOptions.validate(wrong)
	o.loggingOptions.validate(wrong)
	o.cainjectorOptions.validate(wrong)
	return errors.Join(wrong.errs...)
}

// mistakes collects what is wrong with the options.
type mistakes struct {
	places map[string]string
	errs   []error
}

// add notes a mistake, with the name of the flag, or the place in the configuration file that the value is from.
func (m *mistakes) add(flag, format string, args ...any) {
	place, ok := m.places[flag]
	if !ok {
		place = "--" + flag
	}
	m.errs = append(m.errs, fmt.Errorf("%s: %s", place, fmt.Sprintf(format, args...)))
}

// splitAddress returns host and port of host:port; the host may be empty.
func splitAddress(address string) (string, int, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not host:port", address)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return "", 0, fmt.Errorf("%q is not a port", port)
	}
	return host, int(number), nil
}
