package main

import (
	"io"
	"log/slog"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

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
