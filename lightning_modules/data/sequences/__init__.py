"""Data modules of sequences: texts, parallel texts, trees and made tasks."""
