package main

import (
	"io"
	"log/slog"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// loggingOptions say how caject logs.
type loggingOptions struct {
	loggingFormat string
	verbosity     int
}

func defaultLogging() loggingOptions { return loggingOptions{loggingFormat: "text"} }

func (l *loggingOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&l.loggingFormat, "logging-format", l.loggingFormat, "text or json.")
	flags.IntVarP(&l.verbosity, "v", "v", l.verbosity, "Verbosity of the log: 0 is what an operator must see.")
}

func (l *loggingOptions) validate(wrong *mistakes) {
	if l.loggingFormat != "text" && l.loggingFormat != "json" {
		wrong.add("logging-format", "%q is neither text nor json", l.loggingFormat)
	}
	if l.verbosity < 0 {
		wrong.add("v", "must not be negative")
	}
}

// setUpLogging has everything log to w, the libraries included, and returns the logger. V(n) lines appear from
// verbosity n on.
func setUpLogging(w io.Writer, format string, verbosity int) logr.Logger {
	options := &slog.HandlerOptions{Level: slog.Level(-verbosity)}
	var handler slog.Handler = slog.NewTextHandler(w, options)
	if format == "json" {
		handler = slog.NewJSONHandler(w, options)
	}
	logger := logr.FromSlogHandler(handler)
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
	// net/http logs each failed TLS handshake to the standard logger; anybody can cause those.
	slog.SetDefault(slog.New(handler))
	slog.SetLogLoggerLevel(slog.Level(-1))
	return logger
}
