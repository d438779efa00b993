package main

import (
	"io"
	"log/slog"

	"github.com/go-logr/logr"
)

// newLogger returns the logger that everything logs to, the libraries included. V(n) lines appear from verbosity n on.
func newLogger(w io.Writer, format string, verbosity int) logr.Logger {
	options := &slog.HandlerOptions{Level: slog.Level(-verbosity)}
	if format == "json" {
		return logr.FromSlogHandler(slog.NewJSONHandler(w, options))
	}
	return logr.FromSlogHandler(slog.NewTextHandler(w, options))
}
